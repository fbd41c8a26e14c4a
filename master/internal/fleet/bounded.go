// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"io"
	"net/http"
)

// maxAnswer bounds the body of one answer of a managed cluster, in bytes: the largest list that the master reads is far
// smaller, and a cluster that is not what it seems must not take the master's memory.
const maxAnswer = 16 << 20

// bounded makes reading a larger answer fail.
type bounded struct {
	next    http.RoundTripper
	cluster string
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, cluster: b.cluster, left: maxAnswer}
	return response, nil
}

type boundedBody struct {
	io.ReadCloser

	cluster string
	left    int64
}

// Read fails, instead of ending, where the bound is passed: a part of an answer must not pass for the whole.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLarge()
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.tooLarge()
	}
	return n, err
}

func (b *boundedBody) tooLarge() error {
	return fmt.Errorf("reading the answer of cluster %s: it is larger than %d bytes", b.cluster, maxAnswer)
}
