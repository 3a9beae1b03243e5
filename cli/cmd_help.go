// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"husk/cli/exit"
	"husk/cli/print"
	"husk/openapi"
	"husk/version"
)

func versionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs}
	server := cmd.Flags().Bool("server", false, "also print the version of the server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := io.WriteString(a.out, version.Line("husk")); err != nil || !*server {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		p, err := c.Platform(cmd.Context())
		if err != nil {
			return err
		}
		line := "server " + p.Version
		if commit := openapi.Value(p.Commit); commit != "" {
			line += ", commit " + commit
		}
		_, err = fmt.Fprintln(a.out, print.Clean(line))
		return err
	}
	return cmd
}

// manCommand writes the manual pages, for people who build a distribution package of husk.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages to a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same program writes the same pages
			root.InitDefaultCompletionCmd()
			long := root.Long
			root.Long = long + "\n\nExit codes:\n\n" + strings.TrimRight(exit.Text(), "\n")
			defer func() { root.Long = long }()
			return doc.GenManTree(root, &doc.GenManHeader{Title: "HUSK", Section: "1", Source: "Husk", Manual: "Husk"}, args[0])
		},
	}
}

// exitCodesTopic is a page of help, not a command.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "The meaning of the exit codes",
		Long: "The meaning of the exit codes.\n\n" + exit.Text() + `
Without -d or --wait, husk run exits with the exit code of the container, which
may be any number. If the container did not run, the exit code is one of those in
the table.`,
	}
}
