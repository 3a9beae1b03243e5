package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var usageView = view[openapi.Usage]{
	kind: "usage",
	name: func(u openapi.Usage) string { return value(u.Key) },
	columns: []column[openapi.Usage]{
		{"FROM", false, func(u openapi.Usage) string { return u.From.Format("2006-01-02T15:04Z07:00") }},
		{"TO", false, func(u openapi.Usage) string { return u.To.Format("2006-01-02T15:04Z07:00") }},
		{"OF", false, func(u openapi.Usage) string {
			if u.Name != nil {
				return value(u.Kind) + "/" + *u.Name
			}
			return value(u.Key)
		}},
		{"POD-HOURS", false, func(u openapi.Usage) string { return hours(u.PodSeconds) }},
		{"CORE-HOURS", false, func(u openapi.Usage) string { return hours(u.CPUCoreSeconds) }},
		{"MEMORY-GIB-HOURS", false, func(u openapi.Usage) string { return hours(u.MemoryGiBSeconds) }},
		{"VOLUME-GIB-HOURS", false, func(u openapi.Usage) string { return hours(u.VolumeGiBSeconds) }},
		{"SENT", false, func(u openapi.Usage) string { return fmt.Sprintf("%.1fMi", float64(u.NetworkSentBytes)/(1<<20)) }},
		{"RECEIVED", true, func(u openapi.Usage) string { return fmt.Sprintf("%.1fMi", float64(u.NetworkReceivedBytes)/(1<<20)) }},
		{"COST", false, func(u openapi.Usage) string {
			if u.Cost == nil {
				return ""
			}
			return fmt.Sprintf("%.2f", *u.Cost)
		}},
		{"CLOSED", true, func(u openapi.Usage) string { return fmt.Sprint(u.Closed) }},
	},
}

func hours(seconds float64) string { return fmt.Sprintf("%.2f", seconds/time.Hour.Seconds()) }

func usageCommand(a *app) *cobra.Command {
	var from, to, period, group, label string
	asCSV := false
	cmd := &cobra.Command{
		Use: "usage", Short: "Show what the tenant has used, and what it costs", Args: cobra.NoArgs,
		Long: `Show what the tenant has used: what was reserved by pods while their virtual
machines were up and by volumes while they were there, and what pods have sent.
Without flags it is this month until now. An hour is closed ten minutes after
its end and never changes then.`,
		Example: "  husk usage --by object\n  husk usage --from 2026-03-01 --to 2026-04-01 --period day --csv\n  husk usage --by label --label app",
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "first day or hour, such as 2026-03-01 or 2026-03-01T12:00:00Z (default: this month's first)")
	f.StringVar(&to, "to", "", "day or hour behind the last (default: the end of this hour)")
	f.StringVar(&period, "period", "total", "hour, day or total")
	f.StringVar(&group, "by", "none", "none, object, resource or label")
	f.StringVar(&label, "label", "", "the label, with --by label")
	f.BoolVar(&asCSV, "csv", false, "comma-separated values, in seconds and bytes")
	a.completeWords(cmd, "period", "hour", "day", "total")
	a.completeWords(cmd, "by", "none", "object", "resource", "label")
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		params := openapi.GetUsageParams{Label: given(label)}
		by, piece := openapi.GetUsageParamsGroupBy(group), openapi.GetUsageParamsPeriod(period)
		params.GroupBy, params.Period = &by, &piece
		if !by.Valid() {
			return usagef("--by: %q is not none, object, resource or label", group)
		}
		if !piece.Valid() {
			return usagef("--period: %q is not hour, day or total", period)
		}
		for _, t := range []struct {
			flag, text string
			to         **time.Time
		}{{"--from", from, &params.From}, {"--to", to, &params.To}} {
			if t.text == "" {
				continue
			}
			at, err := parseMoment(t.text)
			if err != nil {
				return usagef("%s: %q is no day such as 2026-03-01 and no time such as 2026-03-01T12:00:00Z", t.flag, t.text)
			}
			*t.to = &at
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if asCSV {
			csv := openapi.GetUsageParamsFormatCsv
			params.Format = &csv
			resp, err := c.GetUsage(cmd.Context(), &params)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				_, err := answer[openapi.UsageList](resp, nil)
				return err
			}
			defer resp.Body.Close() //nolint:errcheck // it was read
			_, err = io.Copy(p.out, resp.Body)
			return err
		}
		l, err := answer[openapi.UsageList](c.GetUsage(cmd.Context(), &params))
		if err != nil {
			return err
		}
		if p.format == "json" {
			return writeJSON(p.out, l)
		}
		if p.format == "yaml" {
			return writeYAML(p.out, l)
		}
		if len(l.Items) == 0 {
			a.hint("nothing was used in this time")
			return nil
		}
		return usageView.show(p, l.Items)
	}
	return cmd
}

// parseMoment reads a time, or a day as its beginning in UTC.
func parseMoment(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	return time.Parse(time.RFC3339, text)
}
