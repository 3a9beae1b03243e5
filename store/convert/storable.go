// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"crypto/sha256"
	"net"
	"strings"

	"github.com/google/uuid"

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
	r.Containers = append([]husk.ContainerStatus{}, r.Containers...)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name, c.State, c.Reason, c.Message, c.LastReason = clean(c.Name), clean(c.State), clean(c.Reason), clean(c.Message), clean(c.LastReason)
	}
	return r
}

// MAC derives a pod's MAC address from its id, so that it is the same at every start. The address is locally administered and unicast.
func MAC(pod uuid.UUID) net.HardwareAddr {
	h := sha256.Sum256(pod[:])
	return net.HardwareAddr{0x02, h[0], h[1], h[2], h[3], h[4]}
}

// OperationName returns the name of an operation as in the contract, whose first letter is lower case.
func OperationName(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
