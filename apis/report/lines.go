// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// MaxOutputBytes bounds what is read of the output of a container; what stands before the last bytes is not read.
const MaxOutputBytes = 64 << 10

// maxLineFaults bounds the lines that ParseOutput complains about.
const maxLineFaults = 5

// ParseStatus reads a status word in any case; ok is taken for PASS.
func ParseStatus(word string) (kubeproberv1.CheckerStatus, error) {
	if strings.EqualFold(strings.TrimSpace(word), "ok") {
		return kubeproberv1.CheckerPass, nil
	}
	status, known := kubeproberv1.ParseCheckerStatus(word)
	if !known {
		return "", fmt.Errorf("%q is no status; it must be pass, info, warn, error or unknown", CleanText(word, 80))
	}
	return status, nil
}

// ParseLine reads one result as a line of text: "name ok|info|warn|error|unknown message", with pass for ok, in any case. The
// result is one that Normalize takes.
func ParseLine(text string) (Checker, error) {
	name, rest := cutField(text)
	word, message := cutField(rest)
	status, err := ParseStatus(word)
	if err != nil {
		return Checker{}, fmt.Errorf("%q has no ok, info, warn, error or unknown after the name", CleanText(text, 80))
	}
	result := Checker{Name: name, Status: status, Message: message}
	if err := result.normalize(); err != nil {
		return Checker{}, err
	}
	return result, nil
}

func cutField(text string) (field, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], strings.TrimSpace(text[i:])
	}
	return text, ""
}

// Output is what a container said by what it wrote.
type Output struct {
	// Checkers are the results among its lines, at most 1000, in the order of their first line; of two lines with one name the
	// later counts. Empty when no line is a result.
	Checkers []Checker
	// Faults name the lines that look like results and are none, a few of them. Nil when Checkers is empty: then the container
	// does not speak in lines.
	Faults []string
	// Last is the last line with anything printable on it, cleaned and cut to the length of a message.
	Last string
}

// ParseOutput finds the results in the output of a container, of which the last MaxOutputBytes are read. Other than the input of
// report-status it may hold any text between them, so a line counts only if its first word may be the name of a checker: a time,
// a bracket, a log level, or a word such as "no" begins a line of text.
func ParseOutput(text string) Output {
	if len(text) > MaxOutputBytes {
		text = text[len(text)-MaxOutputBytes:]
		// The first line is a part of one.
		if _, after, found := strings.Cut(text, "\n"); found {
			text = after
		}
	}
	var out Output
	var faults, excess int
	index := map[string]int{}
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if clean := CleanText(line, kubeproberv1.MaxMessageLength); clean != "" {
			out.Last = clean
		}
		if !looksLikeResult(line) {
			continue
		}
		result, err := ParseLine(line)
		at, known := index[result.Name]
		switch {
		case err != nil:
			if faults++; faults <= maxLineFaults {
				out.Faults = append(out.Faults, err.Error())
			}
		case known:
			out.Checkers[at] = result
		case len(out.Checkers) == kubeproberv1.MaxCheckers:
			excess++
		default:
			index[result.Name] = len(out.Checkers)
			out.Checkers = append(out.Checkers, result)
		}
	}
	if faults > maxLineFaults {
		out.Faults = append(out.Faults, fmt.Sprintf("and %d more", faults-maxLineFaults))
	}
	if excess > 0 {
		out.Faults = append(out.Faults, fmt.Sprintf("%d results are more than %d", len(out.Checkers)+excess, kubeproberv1.MaxCheckers))
	}
	if len(out.Checkers) == 0 {
		out.Faults = nil
	}
	return out
}

// looksLikeResult tells a line that is a result, or was meant as one, from any other text.
func looksLikeResult(line string) bool {
	name, rest := cutField(line)
	word, _ := cutField(rest)
	if !mayBeName(name) {
		return false
	}
	if _, err := ParseStatus(word); err == nil {
		return true
	}
	return mistaken[strings.ToLower(word)]
}

// mistaken are words that are written where a status belongs, and are none.
var mistaken = setOf("okay passed success warning err fail failed failure critical fatal")

// prose begins lines of text. Status words stand for log levels.
var prose = setOf("all an and any are but everything for got had has if in is it its no not nothing of on or some something than that the " +
	"there this to was were with without ok pass info warn warning error unknown debug trace notice fatal critical panic")

// timestamp begins a date or a time of day.
var timestamp = regexp.MustCompile(`^(\d{4}[-/.]\d\d|\d\d?:\d\d)`)

func mayBeName(word string) bool {
	first, _ := utf8.DecodeRuneInString(word)
	return (unicode.IsLetter(first) || unicode.IsDigit(first)) && !strings.ContainsAny(word, "=") && !strings.HasSuffix(word, ":") &&
		!strings.HasSuffix(word, ",") && !timestamp.MatchString(word) && !prose[strings.ToLower(word)]
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}
