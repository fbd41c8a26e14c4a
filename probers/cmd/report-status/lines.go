// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
)

const (
	// maxLine bounds a line of the input, in bytes.
	maxLine = 64 << 10
	// maxBatch bounds the results in one report; with messages cut to their limit it stays far below report.MaxBytes.
	maxBatch = 100
)

// errNoResult is in the error of an input that has lines which are no results.
var errNoResult = errors.New("a line is no result")

// line is one line of the input: a result, or what is wrong with it.
type line struct {
	checker report.Checker
	err     error
}

// sendLines reports the results of the input as they come: those that arrive while a report is under way go together into
// the next one. Lines that are no results do not keep the others from being reported.
func sendLines(input io.Reader, send func(...report.Checker) error) error {
	lines := make(chan line, maxBatch)
	go func() {
		defer close(lines)
		readLines(input, lines)
	}()
	var failures []error
	for first := range lines {
		batch := gather(first, lines, &failures)
		if len(batch) == 0 {
			continue
		}
		if err := send(batch...); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// gather makes a batch of a first line and of those that have arrived already. Of two results with one name the later counts.
func gather(first line, lines <-chan line, failures *[]error) []report.Checker {
	var batch []report.Checker
	index := map[string]int{}
	add := func(l line) {
		if l.err != nil {
			*failures = append(*failures, l.err)
			return
		}
		if i, ok := index[l.checker.Name]; ok {
			batch[i] = l.checker
			return
		}
		index[l.checker.Name] = len(batch)
		batch = append(batch, l.checker)
	}
	add(first)
	for len(batch) < maxBatch {
		select {
		case next, ok := <-lines:
			if !ok {
				return batch
			}
			add(next)
		default:
			return batch
		}
	}
	return batch
}

func readLines(input io.Reader, lines chan<- line) {
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, maxLine)
	number := 0
	for scanner.Scan() {
		number++
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		result, err := parseLine(text)
		if err != nil {
			err = fmt.Errorf("line %d: %w: %w", number, errNoResult, err)
		}
		lines <- line{checker: result, err: err}
	}
	if err := scanner.Err(); err != nil {
		lines <- line{err: fmt.Errorf("line %d: %w: reading the input: %w", number+1, errNoResult, err)}
	}
}

// parseLine reads "name ok|info|warn|error|unknown message".
func parseLine(text string) (report.Checker, error) {
	result, err := report.ParseLine(text)
	if err != nil {
		return report.Checker{}, fmt.Errorf("%w; write what is no result to the standard error", err)
	}
	now := metav1.Now()
	result.LastRun = &now
	return result, nil
}
