package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// allowance is one line of the quota.
type allowance struct {
	what        string
	used, limit int64
	counted     bool // whether use is counted; of a rate it is not
	text        func(int64) string
}

var quotaView = view[allowance]{
	kind: "quota",
	name: func(q allowance) string { return q.what },
	columns: []column[allowance]{
		{"RESOURCE", false, func(q allowance) string { return q.what }},
		{"USED", false, func(q allowance) string { return q.ifCounted(q.text(q.used)) }},
		{"LIMIT", false, func(q allowance) string { return q.text(q.limit) }},
		{"FREE", false, func(q allowance) string { return q.ifCounted(q.text(max(0, q.limit-q.used))) }},
	},
}

func (q allowance) ifCounted(text string) string {
	if q.counted {
		return text
	}
	return ""
}

func allowances(q openapi.QuotaUse) []allowance {
	number := func(n int64) string { return fmt.Sprint(n) }
	cpu := func(n int64) string { return cores(int(n)) }
	mib := func(n int64) string { return fmt.Sprintf("%dMi", n) }
	gib := func(n int64) string { return fmt.Sprintf("%dGi", n) }
	return []allowance{
		{"pods", q.Used.Pods, int64(q.Limits.Pods), true, number},
		{"cpus", q.Used.CPUMillis, int64(q.Limits.CPUMillis), true, cpu},
		{"memory", q.Used.MemoryMiB, int64(q.Limits.MemoryMiB), true, mib},
		{"volumes", q.Used.Volumes, int64(q.Limits.Volumes), true, number},
		{"volume size", q.Used.VolumeGiB, int64(q.Limits.VolumeGiB), true, gib},
		{"snapshots", q.Used.Snapshots, int64(q.Limits.Snapshots), true, number},
		{"images", q.Used.Images, int64(q.Limits.Images), true, number},
		{"networks", q.Used.Networks, int64(q.Limits.Networks), true, number},
		{"addresses", q.Used.Addresses, int64(q.Limits.Addresses), true, number},
		{"pod priority", 0, int64(q.Limits.Priority), false, number},
		{"requests per second", 0, int64(q.Limits.RequestsPerSecond), false, number},
	}
}

func quotaCommand(a *app) *cobra.Command { return quotaList(a) }

func quotaList(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "quota", Short: "Show the tenant's limits and what is in use", Args: cobra.NoArgs}
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
		q, err := answer[openapi.QuotaUse](c.GetQuota(cmd.Context()))
		if err != nil {
			return err
		}
		switch p.format {
		case "json":
			return writeJSON(p.out, q)
		case "yaml":
			return writeYAML(p.out, q)
		default:
			return quotaView.show(p, allowances(q))
		}
	}
	return cmd
}
