// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// NewLogger makes the log that the options ask for.
func NewLogger(options *Options, w io.Writer) (logr.Logger, error) {
	level, err := logLevel(options.LogLevel)
	if err != nil {
		return logr.Logger{}, err
	}
	return zap.New(zap.WriteTo(w), zap.UseDevMode(options.Development), zap.Level(level), zap.StacktraceLevel(zapcore.PanicLevel)), nil
}

func logLevel(text string) (zapcore.Level, error) {
	if verbosity, err := strconv.ParseUint(text, 10, 4); err == nil && verbosity <= 10 {
		return zapcore.Level(-int8(verbosity)), nil
	}
	level, err := zapcore.ParseLevel(strings.ToLower(text))
	if err != nil {
		return 0, fmt.Errorf("checking debug_level %q: it must be error, info, debug or a number from 0 to 10", text)
	}
	return level, nil
}
