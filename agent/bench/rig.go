// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	namespace   = "kubeprober"
	clusterName = "bench"
	// secret is shared by agent and master.
	secret = "bench-secret"
	// reporter is the Probe whose reports are timed. It has no interval: each of its generations runs once.
	reporter = "reporter"
	// phaseTimeout bounds each phase of the measurement but the timed ones.
	phaseTimeout = 2 * time.Minute
)

// rig is a master and an agent with a control plane each.
type rig struct {
	config        *config
	dir           string
	out, progress io.Writer
	closers       []func() error

	managed, fleet *plane
	agent          *process
	reports        string
	cluster        *nodeless
	figures        []figure
}

func (r *rig) say(format string, args ...any) { fmt.Fprintf(r.progress, format+"\n", args...) }

func (r *rig) figure(name string, value float64) { r.figures = append(r.figures, figure{name, value}) }

// onClose has something undone at the end, the newest first.
func (r *rig) onClose(f func() error) { r.closers = append(r.closers, f) }

func (r *rig) close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	return errors.Join(errs...)
}

// measure sets everything up and takes all figures.
func (r *rig) measure(ctx context.Context) error {
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Starting two API servers", r.startPlanes},
		{"Starting probe-master", r.startMaster},
		{"Starting probe-agent", r.startAgent},
		{fmt.Sprintf("Running %d probes", r.config.probes), r.runProbes},
		{fmt.Sprintf("Watching probe-agent idle for %s", r.config.idle), r.measureIdle},
		{fmt.Sprintf("Timing %d reports", r.config.reports), r.measureReports},
	} {
		r.say("%s", phase.name)
		bounded, cancel := context.WithTimeout(ctx, phaseTimeout+r.config.settle+r.config.idle)
		err := phase.do(bounded)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	return nil
}

func (r *rig) startPlanes(ctx context.Context) error {
	var err error
	if r.fleet, err = r.startPlane(ctx, "master", "probe-master.yaml"); err != nil {
		return err
	}
	r.managed, err = r.startPlane(ctx, "agent", "probe-agent.yaml")
	return err
}

func (r *rig) startMaster(ctx context.Context) error {
	ports, err := freePorts(ctx, 4)
	if err != nil {
		return err
	}
	_, err = r.startProcess(ctx, &program{
		name: "probe-master", path: r.config.master, plane: r.fleet, health: ports[0],
		args: []string{
			"--hub-bind-address=" + ports[1], "--gateway-bind-address=" + ports[2], "--webhook-port=" + portOf(ports[3]),
			"--metrics-bind-address=0", "--health-probe-bind-address=" + ports[0], "--cert-dir=" + filepath.Join(r.dir, "certs"),
		},
		env: []string{"SERVER_SECRET_KEY=" + secret},
	})
	r.fleet.address = "http://" + ports[1]
	return err
}

func (r *rig) startAgent(ctx context.Context) error {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return err
	}
	file := filepath.Join(r.dir, "probe-conf.yaml")
	settings := fmt.Sprintf("probe_master_addr: %q\ncluster_name: %q\nsecret_key: %q\n", r.fleet.address, clusterName, secret)
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		return fmt.Errorf("writing the agent's configuration: %w", err)
	}
	r.reports = "http://" + ports[1]
	r.agent, err = r.startProcess(ctx, &program{
		name: "probe-agent", path: r.config.agent, plane: r.managed, health: ports[0],
		args: []string{
			"--config=" + file, "--report-url=" + r.reports, "--report-bind-address=" + ports[1],
			"--metrics-bind-address=" + ports[2], "--health-probe-bind-address=" + ports[0],
		},
		env: r.config.env,
	})
	return err
}

// runProbes makes the Probes and lets each run once, with all its checkers reporting. Then none is due for an hour and more.
func (r *rig) runProbes(ctx context.Context) error {
	r.cluster = &nodeless{api: r.managed.client}
	for i := range r.config.probes {
		probe := probeNamed(fmt.Sprintf("probe-%03d", i))
		probe.Spec.Policy.RunInterval = ptr.To[int32](120)
		if err := r.managed.client.Create(ctx, probe); err != nil {
			return fmt.Errorf("creating Probe %s: %w", probe.Name, err)
		}
	}
	if err := r.managed.client.Create(ctx, probeNamed(reporter)); err != nil {
		return fmt.Errorf("creating Probe %s: %w", reporter, err)
	}
	if err := r.cluster.runAll(ctx, r.config.probes+1, r.config.checkers); err != nil {
		return err
	}
	return r.fillHistories(ctx)
}

func probeNamed(name string) *kubeproberv1.Probe {
	return &kubeproberv1.Probe{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kubeproberv1.ProbeSpec{Template: corev1.PodSpec{Containers: []corev1.Container{{
			Name: containerName, Image: "example.test/checker:v1", Command: []string{"/checker", "--all"},
		}}}},
	}
}

// fillHistories waits for the end of all runs to be recorded, and lets the histories be as long as they get.
func (r *rig) fillHistories(ctx context.Context) error {
	return r.managed.watch(ctx, &kubeproberv1.ProbeStatusList{}, r.config.probes+1, func(object client.Object) (bool, error) {
		status, ok := object.(*kubeproberv1.ProbeStatus)
		if !ok || len(status.Status.History) == 0 {
			return false, nil
		}
		if len(status.Status.History) > 1 {
			return true, nil
		}
		before := status.DeepCopy()
		newest := status.Status.History[0]
		for i := 1; i < kubeproberv1.MaxHistory; i++ {
			older := newest
			older.RunID = fmt.Sprintf("%s-%02d", newest.RunID, i)
			older.Start = metav1.NewTime(newest.Start.Add(time.Duration(-i) * time.Hour))
			status.Status.History = append(status.Status.History, older)
		}
		return true, r.managed.client.Status().Patch(ctx, status, client.MergeFrom(before))
	})
}

// freePorts finds addresses on which nothing listens now. They are below the ports that the kernel gives out, which others on this
// machine may get before these are listened on.
func freePorts(ctx context.Context, count int) ([]string, error) {
	var addresses []string
	var last error
	for range 100 * count {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			last = err
			continue
		}
		// All at once, so that no two are the same.
		defer func() { _ = listener.Close() }()
		if addresses = append(addresses, address); len(addresses) == count {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("finding %d free ports: %w", count, last)
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return port
}
