// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/sample"
)

// results are the figures by case and variant, one a round.
type results map[string]map[string]*series

type series struct {
	kind    kind
	figures []float64
	cpu     []float64 // processor time, in seconds
	err     error
}

func (r results) failed(name, variant string) bool {
	s := r[name][variant]
	return s != nil && s.err != nil
}

func (r results) add(m measurement, variant string, figures []float64, cpu time.Duration, err error) {
	for i, name := range m.cases {
		if r[name] == nil {
			r[name] = map[string]*series{}
		}
		s := r[name][variant]
		if s == nil {
			s = &series{kind: m.kind}
			r[name][variant] = s
		}
		if err != nil {
			s.err = err
			continue
		}
		s.figures = append(s.figures, figures[i])
		s.cpu = append(s.cpu, cpu.Seconds())
	}
}

// ratio returns the median of the ratios to direct of each round.
func (r results) ratio(name, variant string) (float64, bool) {
	s, base := r[name][variant], r[name][direct]
	switch {
	case s == nil || s.err != nil:
		return 0, false
	case s.kind == ratios:
		return sample.Median(s.figures), true
	case base == nil:
		return 0, false
	}
	return medianRatio(s.figures, base.figures), true
}

func medianRatio(figures, base []float64) float64 {
	each := make([]float64, len(figures))
	for i, figure := range figures {
		each[i] = figure / base[i]
	}
	return sample.Median(each)
}

// print writes a table with the median, least and most of each figure and its ratio to
// direct, the ratio of the processor time, and then the ratios of ours.
func (r results) print(out io.Writer, cfg config) {
	fmt.Fprintf(out, "%-16s %-7s %10s %10s %10s  %-5s  %9s  %s\n", "CASE", "VARIANT", "MEDIAN", "LEAST", "MOST", "UNIT", "TO DIRECT", "CPU TO DIRECT")
	for _, name := range cfg.cases {
		for _, variant := range cfg.variants {
			s := r[name][variant]
			switch {
			case s == nil:
				continue
			case s.err != nil:
				fmt.Fprintf(out, "%-16s %-7s failed\n", name, variant)
				continue
			}
			compared, cpu := "-", "-"
			if ratio, ok := r.ratio(name, variant); ok && s.kind != ratios {
				compared = fmt.Sprintf("%.2f", ratio)
				cpu = fmt.Sprintf("%.2f", medianRatio(s.cpu, r[name][direct].cpu))
			}
			fmt.Fprintf(out, "%-16s %-7s %10.4g %10.4g %10.4g  %-5s  %9s  %s\n", name, variant,
				sample.Median(s.figures), slices.Min(s.figures), slices.Max(s.figures), s.kind, compared, cpu)
		}
	}
	for _, name := range cfg.cases {
		if ratio, ok := r.ratio(name, ours); ok {
			fmt.Fprintf(out, "RATIO %s %.2f\n", name, ratio)
		}
	}
}
