// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-k8s runs the checkers of package k8s in a pod of a run. With the argument serve it is the web server that
// one of them deploys.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/k8s"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return check(ctx)
	}
	switch args[0] {
	case "serve":
		return serve(ctx, args[1:])
	case "version":
		fmt.Println("probe-k8s", version)
		return 0
	default:
		fmt.Fprintf(os.Stderr, "error: unknown argument %q; there are serve, version, and none to run the checkers\n", args[0])
		return checker.ExitUsage
	}
}

func check(ctx context.Context) int {
	config, err := rest.InClusterConfig()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: finding the API server: %v; probe-k8s runs in a pod with a service account\n", err)
		return checker.ExitUsage
	}
	cluster, err := k8s.NewCluster(config)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return checker.ExitUsage
	}
	return checker.Run(ctx, k8s.Checkers(cluster, os.Getenv)...)
}

func serve(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := flags.Int("port", 8080, "TCP port to listen on")
	answer := flags.String("answer", "ok", "text of the answer")
	if err := flags.Parse(args); err != nil {
		return checker.ExitUsage
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(*port))
	if err == nil {
		err = k8s.Serve(ctx, listener, *answer)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}
