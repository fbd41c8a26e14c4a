// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// leastMessage is how much of a message is shown on the narrowest terminal, in bytes.
	leastMessage = 24
	// gap is what the table printer puts between two columns, in characters.
	gap = 3
)

// TerminalSize tells how to measure the terminal w; nil when w is none, or one that cannot move its cursor.
func TerminalSize(w io.Writer) func() (columns, rows int) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() (int, int) {
		columns, rows, err := term.GetSize(int(file.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	}
}

// fit cuts the cells of one column so that rows take one line of a terminal each. Widths are counted in bytes, as the table
// printer does: no script takes more columns than bytes.
func fit(table *metav1.Table, column string, columns int) {
	at, room := -1, columns
	for i, definition := range table.ColumnDefinitions {
		if definition.Priority != 0 {
			continue
		}
		if definition.Name == column {
			at = i
			continue
		}
		width := len(definition.Name)
		for _, row := range table.Rows {
			if text, ok := row.Cells[i].(string); ok {
				width = max(width, len(text))
			}
		}
		room -= width + gap
	}
	if at < 0 {
		return
	}
	for _, row := range table.Rows {
		if text, ok := row.Cells[at].(string); ok {
			row.Cells[at] = cut(text, max(room, leastMessage))
		}
	}
}

// cut shortens text to so many bytes and marks that by an ellipsis.
func cut(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	end := max(most-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
