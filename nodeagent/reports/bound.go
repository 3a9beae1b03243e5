// SPDX-License-Identifier: Apache-2.0

package reports

import (
	"slices"
	"strings"
	"time"

	"husk"
	"husk/limits"
)

// Bounded returns the report, cut to the contract's limits. Most of its texts come from the guest.
func Bounded(r husk.PodReport) husk.PodReport {
	r.Reason, r.Message = Clip(r.Reason, limits.Reason), Clip(r.Message, limits.Message)
	r.Restarts = count(r.Restarts)
	r.Containers = slices.Clone(r.Containers[:min(len(r.Containers), limits.Containers)])
	if r.Containers == nil {
		r.Containers = []husk.ContainerStatus{}
	}
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name = Clip(c.Name, limits.Name)
		c.Reason, c.Message = Clip(c.Reason, limits.Reason), Clip(c.Message, limits.Message)
		c.Restarts = count(c.Restarts)
		c.StartedAt, c.FinishedAt, c.NextStartAt = plausible(c.StartedAt), plausible(c.FinishedAt), plausible(c.NextStartAt)
	}
	return r
}

// Clip cuts s to at most n bytes, between characters.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(s[:n-len(ellipsis)], "") + ellipsis
}

func count(n int) int { return max(0, min(n, limits.Restarts)) }

// The times of a guest are those of its own clock, which it can set to anything. Some of them cannot be written as JSON in every time zone.
var earliest, latest = time.Unix(0, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func plausible(t *time.Time) *time.Time {
	if t == nil || t.Before(earliest) || t.After(latest) {
		return nil
	}
	return new(t.UTC())
}

// size returns an upper bound of the report's size in JSON, in bytes. A byte of a text takes at most six bytes of JSON.
func size(r husk.PodReport) int {
	const fields, escaped = 400, 6
	n := fields + escaped*(len(r.Reason)+len(r.Message))
	for _, c := range r.Containers {
		n += fields + escaped*(len(c.Name)+len(c.Reason)+len(c.Message))
	}
	return n
}
