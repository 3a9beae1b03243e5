package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes manual pages; who packages husk calls it.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
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
			root.Long = long + "\n\nExit codes:\n\n" + strings.TrimRight(exitCodesText(), "\n")
			defer func() { root.Long = long }()
			return doc.GenManTree(root, &doc.GenManHeader{Title: "HUSK", Section: "1", Source: "Husk", Manual: "Husk"}, args[0])
		},
	}
}
