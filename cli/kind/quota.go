// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"husk/cli/print"
	"husk/openapi"
)

// Allowance is one line of the quota.
type Allowance struct {
	resource    string
	used, limit int64
	counted     bool // whether the resource has a usage; false for rates and for the pod priority
	text        func(int64) string
}

// Quota shows the limits of a tenant.
var Quota = print.View[Allowance]{
	Kind: "quota",
	Name: func(q Allowance) string { return strings.ReplaceAll(q.resource, " ", "-") },
	Columns: []print.Column[Allowance]{
		print.Col("RESOURCE", func(q Allowance) string { return q.resource }),
		print.Col("USED", func(q Allowance) string { return q.ifCounted(q.text(q.used)) }),
		print.Col("LIMIT", func(q Allowance) string { return q.text(q.limit) }),
		print.Col("FREE", func(q Allowance) string { return q.ifCounted(q.text(max(0, q.limit-q.used))) }),
	},
}

func (q Allowance) ifCounted(text string) string {
	if q.counted {
		return text
	}
	return ""
}

// Allowances returns the lines of a quota.
func Allowances(q openapi.QuotaUse) []Allowance {
	number := func(n int64) string { return fmt.Sprint(n) }
	cpu := func(n int64) string { return print.Cores(int(n)) }
	mib := func(n int64) string { return fmt.Sprintf("%dMi", n) }
	gib := func(n int64) string { return fmt.Sprintf("%dGi", n) }
	all := []Allowance{
		{"pods", q.Used.Pods, int64(q.Limits.Pods), true, number},
		{"cpus", q.Used.CPUMillis, int64(q.Limits.CPUMillis), true, cpu},
		{"memory", q.Used.MemoryMiB, int64(q.Limits.MemoryMiB), true, mib},
		{"scratch disks", q.Used.ScratchGiB, int64(q.Limits.ScratchGiB), true, gib},
		{"volumes", q.Used.Volumes, int64(q.Limits.Volumes), true, number},
		{"volume size", q.Used.VolumeGiB, int64(q.Limits.VolumeGiB), true, gib},
		{"snapshots", q.Used.Snapshots, int64(q.Limits.Snapshots), true, number},
		{"images", q.Used.Images, int64(q.Limits.Images), true, number},
		{"configs", q.Used.Configs, int64(q.Limits.Configs), true, number},
		{"services", q.Used.Services, int64(q.Limits.Services), true, number},
		{"ingresses", q.Used.Ingresses, int64(q.Limits.Ingresses), true, number},
		{"security groups", q.Used.SecurityGroups, int64(q.Limits.SecurityGroups), true, number},
		{"networks", q.Used.Networks, int64(q.Limits.Networks), true, number},
		{"floating addresses", q.Used.Addresses, int64(q.Limits.Addresses), true, number},
		{"pod priority", 0, int64(q.Limits.Priority), false, number},
		{"requests per second", 0, int64(q.Limits.RequestsPerSecond), false, number},
	}
	used, limits := openapi.Value(q.Used.VolumeClassGiB), openapi.Value(q.Limits.VolumeClassGiB)
	for _, class := range slices.Sorted(maps.Keys(limits)) {
		all = append(all, Allowance{"volumes of class " + class, used[class], int64(limits[class]), true, gib})
	}
	return all
}
