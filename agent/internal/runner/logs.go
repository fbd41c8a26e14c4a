// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// tailLinesRead is how many lines are asked for: those of as many results as are kept, and some between them.
	tailLinesRead = kubeproberv1.MaxCheckers + 500
	// maxLogRead bounds what one reading takes from the wire. A container runtime cuts lines at 16 KiB.
	maxLogRead = 24 << 20
)

// PodLogs reads logs from the API server.
func PodLogs(clientset kubernetes.Interface) LogReader {
	return func(ctx context.Context, pod *corev1.Pod, container string) (text string, cut bool, err error) {
		// No LimitBytes: that would keep the beginning, and it is the end that counts.
		stream, err := clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
			Container: container, TailLines: ptr.To[int64](tailLinesRead),
		}).Stream(ctx)
		if err != nil {
			return "", false, fmt.Errorf("opening log of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		defer func() { _ = stream.Close() }()
		text, cut, err = readEnd(io.LimitReader(stream, maxLogRead))
		if err != nil {
			return "", false, fmt.Errorf("reading log of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return text, cut, nil
	}
}

// readEnd reads a log to its end and keeps the last report.MaxOutputBytes.
func readEnd(log io.Reader) (text string, cut bool, err error) {
	kept := make([]byte, 0, 8<<10)
	chunk := make([]byte, 8<<10)
	lines, total := 0, 0
	for {
		n, err := log.Read(chunk)
		lines += bytes.Count(chunk[:n], []byte("\n"))
		total += n
		if len(kept)+n > report.MaxOutputBytes {
			kept = append(kept[:0], kept[len(kept)+n-report.MaxOutputBytes:]...)
		}
		kept = append(kept, chunk[:n]...)
		switch {
		case err == io.EOF:
			return string(kept), total > report.MaxOutputBytes || lines >= tailLinesRead, nil
		case err != nil:
			return "", false, err
		}
	}
}
