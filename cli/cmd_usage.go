// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/client"
	"husk/openapi"
)

func usageCommand(a *app) *cobra.Command {
	var from, to, period, group, label string
	asCSV, everybody := false, false
	cmd := &cobra.Command{
		Use: "usage", Short: "Show the tenant's usage and its cost", Args: cobra.NoArgs,
		Long: `Show the tenant's usage: what pods reserved while their virtual machines were up,
what volumes reserved while they existed, and what pods sent and received over the
network.
Without flags, it covers this month until now. The usage of an hour is closed ten
minutes after its end, and does not change afterwards.`,
		Example: "  husk usage --all-tenants --by tenant\n  husk usage --by object\n  husk usage --from 2026-03-01 --to 2026-04-01 --period day --csv\n  husk usage --by label --label app",
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "first day or hour, such as 2026-03-01 or 2026-03-01T12:00:00Z (default: the first of this month)")
	f.StringVar(&to, "to", "", "end of the time range, exclusive: a day or an hour (default: the end of this hour)")
	f.StringVar(&period, "period", "total", "length of each reporting interval: hour, day or total")
	f.StringVar(&group, "by", "none", "how to group usage: none, object, resource, volumeClass or label, and of all tenants also tenant")
	f.BoolVarP(&everybody, "all-tenants", "A", false, "show the usage of all tenants; for operators")
	f.StringVar(&label, "label", "", "the label for --by label")
	f.BoolVar(&asCSV, "csv", false, "print comma-separated values, in seconds and bytes")
	complete.Words(cmd, "period", "hour", "day", "total")
	complete.Words(cmd, "by", "none", "object", "resource", "volumeClass", "label", "tenant")
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		params := openapi.GetUsageParams{Label: given(label)}
		by, interval := openapi.GetUsageParamsGroupBy(group), openapi.GetUsageParamsPeriod(period)
		params.GroupBy, params.Period = &by, &interval
		if all := openapi.AdminGetUsageParamsGroupBy(group); everybody && !all.Valid() {
			return exit.Usagef("--by: %q is not none, object, resource, volumeClass, label or tenant", group)
		} else if !everybody && all == openapi.AdminGetUsageParamsGroupByTenant {
			return exit.Usagef("--by tenant is for the usage of all tenants; add --all-tenants")
		}
		if !everybody && !by.Valid() {
			return exit.Usagef("--by: %q is not none, object, resource, volumeClass or label", group)
		}
		if !interval.Valid() {
			return exit.Usagef("--period: %q is not hour, day or total", period)
		}
		if params.From, err = parse.Day("--from", from); err != nil {
			return err
		}
		if params.To, err = parse.Day("--to", to); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		of := openapi.AdminGetUsageParams{
			From: params.From, To: params.To, Label: params.Label,
			Period: new(openapi.AdminGetUsageParamsPeriod(period)), GroupBy: new(openapi.AdminGetUsageParamsGroupBy(group)),
		}
		var l openapi.UsageList
		switch {
		case everybody && asCSV:
			return c.UsageOfAllCSV(cmd.Context(), of, p.Out)
		case everybody:
			if l, err = c.UsageOfAll(cmd.Context(), of); err == nil && *of.GroupBy == openapi.AdminGetUsageParamsGroupByTenant {
				err = nameTenants(cmd.Context(), c, l.Items)
			}
		case asCSV:
			return c.UsageCSV(cmd.Context(), params, p.Out)
		default:
			l, err = c.Usage(cmd.Context(), params)
		}
		if err != nil {
			return a.forOperators(err, everybody)
		}
		if printed, err := p.Value(l); printed {
			return err
		}
		if len(l.Items) == 0 {
			a.hint("there is no usage in this time range")
			return nil
		}
		return kind.Usage.Show(p, l.Items)
	}
	return cmd
}

// nameTenants gives the usage of tenants their names. Tenants that were deleted have none.
func nameTenants(ctx context.Context, c *client.Client, items []openapi.Usage) error {
	names := map[string]string{}
	for t, err := range c.Tenants.List(ctx) {
		if err != nil {
			return err
		}
		names[t.ID.String()] = t.Name
	}
	for i := range items {
		if name, known := names[openapi.Value(items[i].Key)]; known {
			items[i].Name, items[i].Kind = &name, new("tenant")
		}
	}
	return nil
}

func quotaCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "quota", Short: "Show the tenant's limits and current usage", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		q, err := c.Quota(cmd.Context())
		if err != nil {
			return err
		}
		if printed, err := p.Value(q); printed {
			return err
		}
		return kind.Quota.Show(p, kind.Allowances(q))
	}
	return cmd
}
