// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// formatWide shows the columns that do not fit otherwise.
const formatWide = "wide"

// Flags are the flags that say how a command prints.
type Flags struct {
	print     *genericclioptions.PrintFlags
	noHeaders bool
}

// NewFlags returns the flags; operation is what `-o name` and the like say was done, if anything.
func NewFlags(operation string) *Flags {
	return &Flags{print: genericclioptions.NewPrintFlags(operation)}
}

// AddFlags registers the flags.
func (f *Flags) AddFlags(cmd *cobra.Command) {
	f.print.AddFlags(cmd)
	formats := append([]string{formatWide}, f.print.AllowedFormats()...)
	slices.Sort(formats)
	cmd.Flags().Lookup("output").Usage = "Output format. One of: (" + strings.Join(formats, ", ") + ")."
	cmd.Flags().BoolVar(&f.noHeaders, "no-headers", f.noHeaders, "Print the table without its header.")
}

// Validate checks the format.
func (f *Flags) Validate() error {
	if f.Human() {
		return nil
	}
	if _, err := f.print.ToPrinter(); err != nil {
		return exit.New(exit.Usage, "--output: %w", err)
	}
	return nil
}

// Human tells whether a table is asked for.
func (f *Flags) Human() bool {
	format := *f.print.OutputFormat
	template := f.print.TemplatePrinterFlags.TemplateArgument
	return format == formatWide || format == "" && (template == nil || *template == "")
}

// Named tells whether only names are asked for.
func (f *Flags) Named() bool { return *f.print.OutputFormat == "name" }

// Table prints a table; nothing when it has no rows.
func (f *Flags) Table(w io.Writer, made *metav1.Table) error {
	printer := printers.NewTablePrinter(printers.PrintOptions{
		Wide: *f.print.OutputFormat == formatWide, NoHeaders: f.noHeaders,
	})
	return printer.PrintObj(made, w)
}

// Results prints the table of results. On a terminal, messages are cut to its width unless -o wide asks for all.
func (f *Flags) Results(w io.Writer, results []Result, byCluster bool, now time.Time) error {
	made := ResultsTable(results, byCluster, now)
	if size := TerminalSize(w); size != nil && *f.print.OutputFormat != formatWide {
		columns, _ := size()
		fit(made, messageColumn, columns)
	}
	return f.Table(w, made)
}

// Object prints an object, or several ones by name, in the format that was asked for.
func (f *Flags) Object(w io.Writer, objects ...runtime.Object) error {
	printer, err := f.print.ToPrinter()
	if err != nil {
		return exit.New(exit.Usage, "--output: %w", err)
	}
	for _, object := range objects {
		if err := printer.PrintObj(object, w); err != nil {
			return err
		}
	}
	return nil
}
