// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	// maxConcurrent bounds the heartbeats that are read at once; each may take heartbeat.MaxBytes of memory.
	maxConcurrent = 64
	// readTimeout bounds the arrival of one heartbeat.
	readTimeout = 10 * time.Second
	// bindTimeout bounds the check of the sender's identity.
	bindTimeout = 10 * time.Second
	// maxVersion and maxExtra bound free text, in characters.
	maxVersion = 128
	maxExtra   = 1024
)

// Handler is the endpoint that agents post heartbeats to.
type Handler struct {
	authenticate func(*http.Request) (hub.Identity, error)
	binder       hub.Binder
	store        *Store
	slots        chan struct{}
}

// NewHandler returns the endpoint. authenticate tells who sends, or an *hub.AuthError; binder confirms that the sender is
// the cluster that owns the name.
func NewHandler(authenticate func(*http.Request) (hub.Identity, error), binder hub.Binder, store *Store) *Handler {
	return &Handler{authenticate: authenticate, binder: binder, store: store, slots: make(chan struct{}, maxConcurrent)}
}

// ServeHTTP takes one heartbeat and answers 204 once it is kept.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.Header().Set("Connection", "close")
		http.Error(w, "heartbeats are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	id, err := h.authenticate(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if !h.bound(w, r, id) {
		return
	}
	beat, err := h.read(w, r)
	switch {
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the master reads as many heartbeats as it can: try again", http.StatusServiceUnavailable)
		return
	case errors.Is(err, heartbeat.ErrTooLarge):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.store.Put(id.Cluster, beat, time.Now())
	w.WriteHeader(http.StatusNoContent)
}

var errBusy = errors.New("too many heartbeats at once")

// read decodes the body while it holds one of the slots.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (*heartbeat.Heartbeat, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, errBusy
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return nil, fmt.Errorf("bounding the time to read the heartbeat: %w", err)
	}
	beat, err := heartbeat.Decode(r.Body)
	if err != nil {
		return nil, err
	}
	return beat, normalize(beat)
}

func (h *Handler) bound(w http.ResponseWriter, r *http.Request, id hub.Identity) bool {
	ctx, cancel := context.WithTimeout(r.Context(), bindTimeout)
	defer cancel()
	err := h.binder.Bind(ctx, id)
	switch {
	case err == nil:
		return true
	case errors.Is(err, hub.ErrRefused):
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		logf.FromContext(r.Context()).Error(err, "Checking the sender of a heartbeat failed", "Cluster", id.Cluster)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the master could not check the cluster's identity: try again", http.StatusServiceUnavailable)
	}
	return false
}

// refuse also ends the connection: whoever is not known may not keep one.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Connection", "close")
	var auth *hub.AuthError
	if errors.As(err, &auth) {
		auth.Write(w)
		return
	}
	http.Error(w, "the heartbeat could not be authenticated", http.StatusUnauthorized)
}

// normalize brings free text within its bounds and refuses a namespace that is none, since requests are made with it.
func normalize(beat *heartbeat.Heartbeat) error {
	if problems := validation.IsDNS1123Label(beat.ProbeNamespace); len(problems) > 0 {
		return fmt.Errorf("probeNamespace is not the name of a namespace: %s", problems[0])
	}
	beat.K8sVersion = report.CleanText(beat.K8sVersion, maxVersion)
	beat.AgentVersion = report.CleanText(beat.AgentVersion, maxVersion)
	if len(beat.ExtraStatus) > 0 {
		extra := make(map[string]string, len(beat.ExtraStatus))
		for name, value := range beat.ExtraStatus {
			extra[report.CleanText(name, kubeproberv1.MaxCheckerNameLength)] = report.CleanText(value, maxExtra)
		}
		beat.ExtraStatus = extra
	}
	for i := range beat.Probes {
		beat.Probes[i].Message = report.CleanText(beat.Probes[i].Message, kubeproberv1.MaxMessageLength)
	}
	return nil
}
