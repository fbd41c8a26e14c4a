// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package version is the command that tells which versions work together.
package version

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
)

// Client is the version of this plugin.
type Client struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

// Info is what the command tells.
type Info struct {
	Client Client `json:"client"`
	// Server is absent with --client.
	Server *fleet.Versions `json:"server,omitempty"`
}

// Options of the command.
type Options struct {
	genericiooptions.IOStreams
	flags      *fleet.Flags
	version    string
	clientOnly bool
	format     string
}

// New makes the command. version is what the build was stamped with; empty when it was not.
func New(flags *fleet.Flags, version string, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{IOStreams: streams, flags: flags, version: version}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of the plugin, the master and the agents",
		Example: `  kubectl probe version
  kubectl probe version --client -o json`,
		Args: exit.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&o.clientOnly, "client", false, "Only the version of the plugin; no cluster is asked.")
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "Output format. One of: (json, yaml).")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Validate checks the flags.
func (o *Options) Validate() error {
	if o.format != "" && o.format != "json" && o.format != "yaml" {
		return exit.New(exit.Usage, "--output %q is none of json, yaml", o.format)
	}
	return o.flags.Validate()
}

// Run prints the versions. That of the plugin is printed even when the clusters do not answer.
func (o *Options) Run(ctx context.Context) error {
	info := Info{Client: o.client()}
	var failed error
	if !o.clientOnly {
		info.Server, failed = o.server(ctx)
	}
	if err := o.print(info); err != nil {
		return err
	}
	return failed
}

func (o *Options) server(ctx context.Context) (*fleet.Versions, error) {
	from, err := o.flags.Open(o.ErrOut)
	if err != nil {
		return nil, err
	}
	return from.Versions(ctx)
}

// client reads the version of a build that was not stamped from what the Go command left in it.
func (o *Options) client() Client {
	version := o.version
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		version = info.Main.Version
	}
	if version == "" {
		version = "(devel)"
	}
	return Client{Version: version, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

func (o *Options) print(info Info) error {
	switch o.format {
	case "json":
		data, err := json.MarshalIndent(info, "", "    ")
		if err != nil {
			return fmt.Errorf("encoding versions: %w", err)
		}
		_, err = fmt.Fprintf(o.Out, "%s\n", data)
		return err
	case "yaml":
		data, err := yaml.Marshal(info)
		if err != nil {
			return fmt.Errorf("encoding versions: %w", err)
		}
		_, err = o.Out.Write(data)
		return err
	default:
		return human(o.Out, info)
	}
}

func human(w io.Writer, info Info) error {
	if _, err := fmt.Fprintf(w, "Client: %s (%s, %s)\n", info.Client.Version, info.Client.Platform, info.Client.GoVersion); err != nil {
		return err
	}
	if info.Server == nil {
		return nil
	}
	for _, component := range info.Server.Components {
		if _, err := fmt.Fprintf(w, "%s: %s\n", component.Name, component.Image); err != nil {
			return err
		}
	}
	for _, agents := range info.Server.Agents {
		if _, err := fmt.Fprintf(w, "Agents: %s on %d clusters\n", agents.Version, agents.Clusters); err != nil {
			return err
		}
	}
	return nil
}
