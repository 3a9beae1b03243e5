// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"slices"
	"strings"

	"husk"
)

// Storable returns a text without characters that Postgres cannot store, cut to at most so many bytes.
func Storable(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return s
}

// maxReportedText is the largest text in a report, in bytes. It is the contract's limit for a pod's message.
const maxReportedText = 4096

// Report removes characters that Postgres cannot store and cuts texts that are too long. Some of the texts come from the guest,
// which must not be able to block the node's reports about other pods.
func Report(r husk.PodReport) husk.PodReport {
	clean := func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), maxReportedText)], "\uFFFD"), "\x00", "")
	}
	r.Reason, r.Message = clean(r.Reason), clean(r.Message)
	r.Containers = slices.Clone(r.Containers)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name, c.State, c.Reason, c.Message = clean(c.Name), clean(c.State), clean(c.Reason), clean(c.Message)
	}
	return r
}
