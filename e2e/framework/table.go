// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"regexp"
	"strings"
)

// Table is what kubectl prints: a header and rows of cells.
type Table struct {
	Header []string
	Rows   []map[string]string
}

var column = regexp.MustCompile(`\S+\s*`)

// ParseTable cuts a table at the columns of its header, so that cells may hold spaces and be empty.
func ParseTable(text string) Table {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	header := []rune(lines[0])
	var table Table
	var starts []int
	for _, at := range column.FindAllStringIndex(string(header), -1) {
		table.Header = append(table.Header, strings.TrimSpace(lines[0][at[0]:at[1]]))
		starts = append(starts, at[0])
	}
	for _, line := range lines[1:] {
		row := make(map[string]string, len(starts))
		runes := []rune(line)
		for i, start := range starts {
			end := len(runes)
			if i+1 < len(starts) {
				end = min(end, starts[i+1])
			}
			row[table.Header[i]] = strings.TrimSpace(string(runes[min(start, end):end]))
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// Row returns the first row whose cell in the column is value, or nil.
func (t Table) Row(column, value string) map[string]string {
	for _, row := range t.Rows {
		if row[column] == value {
			return row
		}
	}
	return nil
}

// Column returns the cells of one column.
func (t Table) Column(name string) []string {
	cells := make([]string, 0, len(t.Rows))
	for _, row := range t.Rows {
		cells = append(cells, row[name])
	}
	return cells
}
