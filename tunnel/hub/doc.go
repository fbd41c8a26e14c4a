// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hub is the end of the tunnels that clusters dial in to: it authenticates
// agents, binds their names, keeps the registry of live tunnels and sends HTTP requests
// through them. It moves bytes and knows cluster names; it knows nothing of Kubernetes
// kinds, of who may call what, and of where names are remembered (a Binder does that).
//
// The far end is package agent. One tunnel is one websocket that carries remotedialer
// frames. On it the hub opens streams by target name, never by address; a stream is
// answered by a preface line and then speaks the credit-window protocol of package
// window, with HTTP/1.1 inside.
package hub
