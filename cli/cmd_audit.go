package cli

import (
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/openapi"
)

func auditCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "List who changed what, newest first", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	tail := cmd.Flags().Int("tail", 100, "only this many of the newest entries; 0 is all")
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
		for e, err := range c.Audit(cmd.Context(), perPage) { // the log only ever grows, so it is not read further than needed
			if err != nil {
				return err
			}
			entries = append(entries, e)
			if len(entries) == *tail {
				break
			}
		}
		if len(entries) == 0 && p.Tabular() {
			a.hint("nothing was changed yet")
			return nil
		}
		return kind.Audit.Show(p, entries)
	}
	return cmd
}

// maxPage is how many entries the API returns at once at most.
const maxPage = 1000
