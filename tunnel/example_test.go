// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnel_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// anyone lets every agent in that knows the secret.
type anyone struct{}

func (anyone) Bind(context.Context, hub.Identity) error { return nil }

// An HTTP server behind NAT: it listens nowhere, and is reached through the tunnel that
// its agent opens to the hub.
func Example() {
	// The public side: a hub, mounted in any HTTPS server.
	h, err := hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte("a long random secret")} },
		Binder:  anyone{},
		Log:     logr.Discard(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	public := httptest.NewTLSServer(h)
	defer public.Close()
	connected := make(chan hub.Event, 1)
	h.Subscribe(func(e hub.Event) { connected <- e })

	// The private side: any http.Handler.
	roots := x509.NewCertPool()
	roots.AddCert(public.Certificate())
	a, err := agent.New(agent.Options{
		HubURL:  public.URL,
		Cluster: "office",
		UID:     "0d1f3e9c-5b7a-4a55-9d7e-000000000001",
		Secret:  func() ([]byte, error) { return []byte("a long random secret"), nil },
		Target: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "the office answers %s %s", r.Method, r.URL.Path)
		}),
		RootCAs: roots,
		Log:     logr.Discard(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	fmt.Println("connected:", (<-connected).Cluster)

	// The public side asks the private one. Scheme and host of the URL do not matter.
	client := &http.Client{Transport: h.RoundTripper("office")}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://office/printers", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read to its end
	fmt.Println(resp.StatusCode, string(body), err)

	stop()
	fmt.Println(<-done, h.Shutdown(context.Background()))
	// Output:
	// connected: office
	// 200 the office answers GET /printers <nil>
	// <nil> <nil>
}
