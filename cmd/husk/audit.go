package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var auditView = view[openapi.AuditEntry]{
	kind: "audit",
	name: func(e openapi.AuditEntry) string { return e.ID.String() },
	columns: []column[openapi.AuditEntry]{
		{"TIME", false, func(e openapi.AuditEntry) string { return e.At.Format(time.RFC3339) }},
		{"WHO", false, func(e openapi.AuditEntry) string { return e.ActorName }},
		{"OPERATION", false, func(e openapi.AuditEntry) string { return e.Operation }},
		{"KIND", false, func(e openapi.AuditEntry) string { return string(value(e.ObjectKind)) }},
		{"OBJECT-ID", false, func(e openapi.AuditEntry) string { return value(e.ObjectID) }},
		{"FROM", false, func(e openapi.AuditEntry) string { return value(e.Address) }},
		{"DETAIL", false, func(e openapi.AuditEntry) string { return shortened(value(e.Detail), 60) }},
		{"ACTOR", true, func(e openapi.AuditEntry) string { return string(e.ActorKind) }},
		{"ACTOR-ID", true, func(e openapi.AuditEntry) string { return e.ActorID.String() }},
		{"API-KEY", true, func(e openapi.AuditEntry) string {
			if e.KeyID == nil {
				return ""
			}
			return e.KeyID.String()
		}},
		{"REQUEST", true, func(e openapi.AuditEntry) string { return e.RequestID }},
	},
}

// shortened cuts a text for a table; -o json has the whole.
func shortened(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

func auditCommand(a *app) *cobra.Command { return auditList(a) }

func auditList(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "List who changed what, newest first", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	tail := cmd.Flags().Int("tail", 100, "only the newest so many; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *tail < 0 {
			return usagef("--tail: %d is below 0", *tail)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		entries, err := listAudit(cmd.Context(), c, *tail)
		if err != nil {
			return err
		}
		if len(entries) == 0 && p.tabular() {
			a.hint("nothing was changed yet")
			return nil
		}
		return auditView.show(p, entries)
	}
	return cmd
}

// listAudit reads the newest entries, or all for 0. The log only ever grows, so it is not read further than it is shown.
func listAudit(ctx context.Context, c *openapi.Client, most int) ([]openapi.AuditEntry, error) {
	if most > 0 && most <= pageSize {
		limit := most
		l, err := answer[openapi.AuditList](c.ListAudit(ctx, &openapi.ListAuditParams{Limit: &limit}))
		return l.Items, err
	}
	all, err := collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListAudit(ctx, &openapi.ListAuditParams{Limit: &pageSize, Cursor: cursor})
	}, func(l openapi.AuditList) ([]openapi.AuditEntry, *string) { return l.Items, l.NextCursor })
	if most > 0 && len(all) > most {
		all = all[:most]
	}
	return all, err
}
