// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"husk"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/client"
	"husk/openapi"
)

func eventsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "events [KIND/NAME]",
		Aliases:           []string{"event", "ev"},
		Short:             "List or watch events, of all objects or of one",
		Example:           "  husk events pod/web\n  husk events --watch",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.offers().Refs("pod", "volume", "image"),
	}
	output := a.outputFlags(cmd, "table")
	of := cmd.Flags().String("kind", "", "list only events of objects of this kind, such as pod")
	watch := cmd.Flags().BoolP("watch", "w", false, "print recent events, then keep running and print new ones")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		q := kind.Query{Events: client.EventSelect{Kind: openapi.ObjectKind(*of)}}
		if len(args) == 1 {
			if q.Events.Object, err = kind.FindID(cmd.Context(), c, args[0], "pod"); err != nil {
				return err
			}
		}
		if *watch {
			return follow(cmd.Context(), a, kind.Events, c, p, q, nil)
		}
		return show(cmd.Context(), a, kind.Events, c, p, q, nil)
	}
	return cmd
}

func auditCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "List the audit log, newest entries first", Args: cobra.NoArgs,
		Example: "  husk audit --tail 20\n  husk audit --tenant acme",
	}
	output := a.outputFlags(cmd, "table")
	tail := cmd.Flags().Int("tail", 100, "number of entries to print, newest first; 0 for all")
	everybody := cmd.Flags().BoolP("all-tenants", "A", false, "list the entries of all tenants and of operators; for operators")
	tenant := cmd.Flags().String("tenant", "", "list the entries of this tenant; for operators")
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
		if *everybody && *tenant != "" {
			return exit.Usagef("--tenant and --all-tenants exclude each other")
		}
		log := c.Audit(cmd.Context(), perPage)
		switch {
		case *tenant != "":
			t, err := c.Tenants.Find(cmd.Context(), kind.Bare("tenant", *tenant))
			if err != nil {
				return err
			}
			log = c.AuditOfAll(cmd.Context(), &t.ID, perPage)
		case *everybody:
			log = c.AuditOfAll(cmd.Context(), nil, perPage)
		}
		var entries []openapi.AuditEntry
		for e, err := range log { // stop when there are enough: the log can be long
			if err != nil {
				return a.forOperators(err, *everybody || *tenant != "")
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

// forOperators adds to a refusal how an operator asks instead. Operators have no tenant.
func (a *app) forOperators(err error, asked bool) error {
	if client.HasCode(err, husk.CodeForbidden) && !asked {
		a.hint("operators have no tenant; add --all-tenants")
	}
	return err
}

// maxPage is the maximum number of entries that the API returns in one page.
const maxPage = 1000
