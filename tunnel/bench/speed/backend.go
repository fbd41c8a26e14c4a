// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// bodySize is the size of a large body, in bytes.
	bodySize = 64 << 20
	// smallSize is the size of a small answer, in bytes.
	smallSize = 100
	// blockSize is how much is written and read at once at the ends, in bytes.
	blockSize = 64 << 10
)

// backend answers in the place of an API server. Bodies are zeros.
type backend struct {
	// progress is when the last write to a download of /stuck returned, in nanoseconds since
	// 1970; 0 before the first.
	progress atomic.Int64
}

func (b *backend) handler() http.Handler {
	mux := http.NewServeMux()
	small := make([]byte, smallSize)
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(small) // a client that is gone counts as failed itself
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(bodySize))
		block := make([]byte, blockSize)
		for range bodySize / blockSize {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("PUT /large", func(w http.ResponseWriter, r *http.Request) {
		n, err := drain(r.Body)
		if err != nil || n != bodySize {
			http.Error(w, fmt.Sprintf("got %d bytes: %v", n, err), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stuck", b.stuck)
	return mux
}

// stuck writes until its client goes away.
func (b *backend) stuck(w http.ResponseWriter, _ *http.Request) {
	b.progress.Store(0)
	block := make([]byte, blockSize)
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
		b.progress.Store(time.Now().UnixNano())
	}
}

// blocks are what is read into, so that a small answer does not cost a large allocation.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// drain reads r to its end.
func drain(r io.Reader) (int64, error) {
	block, ok := blocks.Get().(*[blockSize]byte)
	if !ok {
		block = new([blockSize]byte)
	}
	defer blocks.Put(block)
	// The types hide io.Discard's way to read, which takes 8 KiB at once.
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, block[:])
}

// endless is a body without end or meaning: what it reads into stays as it is.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) { return len(p), nil }
