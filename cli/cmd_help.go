// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"husk/cli/exit"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "husk %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version returns the commit that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v = s.Value
		}
	}
	if v == "" {
		return "unknown"
	}
	return v
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
