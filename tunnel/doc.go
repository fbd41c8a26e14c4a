// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tunnel holds the two ends of a tunnel that carries HTTP to places which nothing
// can dial: package hub accepts tunnels and sends requests through them, package agent
// dials out and answers them. The example shows both. This package itself is only their
// documentation; README.md tells what is guarded, what was measured, and what was tried.
//
// To use it, mount a hub.Hub in an HTTPS server at /clusteragent/connect, with a
// hub.Binder that remembers whom a name belongs to, and send requests by
// hub.Hub.RoundTripper. On the other side give an agent.Agent the address of the hub and
// any http.Handler. Neither end knows Kubernetes, but for agent.APIServer, a handler that
// passes requests on to an API server.
package tunnel
