// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// Durations is a table of what took how long, in the order in which it ran.
func Durations(report ginkgo.Report) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%-9s %-8s %s\n", "DURATION", "RESULT", "WHAT")
	for _, spec := range report.SpecReports {
		if spec.RunTime == 0 || spec.LeafNodeType == types.NodeTypeReportAfterSuite {
			continue
		}
		what := spec.FullText()
		if what == "" {
			what = spec.LeafNodeType.String()
		}
		fmt.Fprintf(&out, "%-9s %-8s %s\n", spec.RunTime.Round(100*time.Millisecond), spec.State, what)
	}
	fmt.Fprintf(&out, "%-9s %-8s %s\n", report.RunTime.Round(100*time.Millisecond), "", "in all")
	return out.String()
}

// TagOf is the tag of an image's name.
func TagOf(image string) string { return image[strings.LastIndex(image, ":")+1:] }
