// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/openapi"
)

func auditCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "List the audit log, newest entries first", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	tail := cmd.Flags().Int("tail", 100, "number of entries to print, newest first; 0 for all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *tail < 0 {
			return exit.Usagef("--tail: %d is negative", *tail)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		perPage := *tail
		if perPage > maxPage {
			perPage = 0
		}
		var entries []openapi.AuditEntry
		for e, err := range c.Audit(cmd.Context(), perPage) { // stop when there are enough: the log can be long
			if err != nil {
				return err
			}
			entries = append(entries, e)
			if len(entries) == *tail {
				break
			}
		}
		if len(entries) == 0 && p.Tabular() {
			a.hint("the audit log is empty")
			return nil
		}
		return kind.Audit.Show(p, entries)
	}
	return cmd
}

// maxPage is the maximum number of entries that the API returns in one page.
const maxPage = 1000
