// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"husk"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
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
		Example: "  husk audit --tail 20\n  husk audit --operation deletePod --from 2026-03-01\n  husk audit --tenant acme",
	}
	output := a.outputFlags(cmd, "table")
	tail := cmd.Flags().Int("tail", 100, "number of entries to print, newest first; 0 for all")
	everybody := cmd.Flags().BoolP("all-tenants", "A", false, "list the entries of all tenants and of operators; for operators")
	tenant := cmd.Flags().String("tenant", "", "list the entries of this tenant; for operators")
	operation := cmd.Flags().String("operation", "", "list only entries of this operation, such as createPod")
	actor := cmd.Flags().String("actor", "", "list only entries of the actor with this name or ID")
	from := cmd.Flags().String("from", "", "list only entries of this day or time or later, such as 2026-03-01 or 2026-03-01T12:00:00Z")
	to := cmd.Flags().String("to", "", "list only entries before this day or time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *tail < 0 {
			return exit.Usagef("--tail: %d is negative", *tail)
		}
		selected := client.AuditSelect{Operation: *operation, Actor: *actor, PerPage: *tail}
		if selected.From, err = parse.Day("--from", *from); err != nil {
			return err
		}
		if selected.To, err = parse.Day("--to", *to); err != nil {
			return err
		}
		if *tail > maxPage {
			selected.PerPage = 0
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if *everybody && *tenant != "" {
			return exit.Usagef("--tenant and --all-tenants exclude each other")
		}
		log := c.Audit(cmd.Context(), selected)
		switch {
		case *tenant != "":
			t, err := c.Tenants.Find(cmd.Context(), kind.Bare("tenant", *tenant))
			if err != nil {
				return err
			}
			log = c.AuditOfAll(cmd.Context(), &t.ID, selected)
		case *everybody:
			log = c.AuditOfAll(cmd.Context(), nil, selected)
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
			if *operation+*actor+*from+*to != "" {
				a.hint("no entries of the audit log match")
			} else {
				a.hint("the audit log is empty")
			}
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
