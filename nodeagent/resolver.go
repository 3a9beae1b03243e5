// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net/netip"
	"os"
	"strings"
)

// nameservers returns the node's own nameservers, which pods use through masquerading. Loopback
// addresses do not work from a pod and are left out.
func nameservers() []netip.Addr {
	raw, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil // a node without nameservers resolves no names, and neither do its pods
	}
	var servers []netip.Addr
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && a.Is4() && !a.IsLoopback() {
			servers = append(servers, a)
		}
	}
	return servers
}
