// SPDX-License-Identifier: Apache-2.0

// Command huskd is the daemon: the API server, the agent of a node, or everything on one machine for development.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"husk/ceph"
	"husk/dev/host"
	"husk/registry/importer"
	"husk/version"
)

func main() {
	host.BeInit()
	importer.BeChild()
	ceph.BeChild()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "huskd:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "huskd",
		Short: "Pods as virtual machines, for tenants that do not trust each other",
		Long: `Pods as virtual machines, for tenants that do not trust each other.

Every flag can also be set in the environment (--state-dir is HUSKD_STATE_DIR) or in the YAML file of --config, with the flag's name as
the key. A flag overrides the environment, and the environment overrides the file.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return settle(cmd) },
	}
	cmd.PersistentFlags().String("config", "", "YAML file with settings")
	cmd.PersistentFlags().String("log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(serverCommand(), agentCommand(), ingressCommand(), watchdogCommand(), devCommand(), simulateCommand(), centralCertificateCommand(), versionCommand())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), version.Line("huskd"))
			return err
		},
	}
}

// logger writes JSON lines to standard error.
func logger(cmd *cobra.Command, part string) (*slog.Logger, error) {
	text, err := cmd.Flags().GetString("log-level")
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", text)
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("part", part), nil
}
