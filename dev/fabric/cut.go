// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// Direction says which packets of a host are dropped.
type Direction string

// The directions of a cut, as the host sees them.
const (
	In   Direction = "in"
	Out  Direction = "out"
	Both Direction = "both"
)

// Directions lists all directions.
var Directions = []Direction{In, Out, Both}

// Cut says which packets of a host are dropped, at all its ports. Nobody is told about it: no connection is reset.
type Cut struct {
	Name      string       // of the other ends, for people
	From      []netip.Addr // the other ends; empty: everything, also ARP
	Direction Direction
}

// Cut drops packets of a host, in addition to those of earlier cuts, until Heal.
func (f *Fabric) Cut(host string, c Cut) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts[host] = append(f.cuts[host], c)
	return f.writeRules()
}

// Heal undoes all cuts of a host.
func (f *Fabric) Heal(host string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.cuts[host]) == 0 {
		return nil
	}
	delete(f.cuts, host)
	return f.writeRules()
}

// Cuts returns what is cut for a host.
func (f *Fabric) Cuts(host string) []Cut {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.cuts[host])
}

func table(bridge string) string { return "husk-" + bridge }

// writeRules replaces the table in one transaction.
func (f *Fabric) writeRules() error {
	var in, out strings.Builder // as a host sees them
	for host, cuts := range f.cuts {
		ports := fmt.Sprintf(`{ "%s" }`, strings.Join(f.ports(host), `", "`))
		for _, c := range cuts {
			if c.Direction != In {
				fmt.Fprintf(&out, "iifname %s%s drop;\n", ports, match("daddr", c.From))
			}
			if c.Direction != Out {
				fmt.Fprintf(&in, "oifname %s%s drop;\n", ports, match("saddr", c.From))
			}
		}
	}
	// Prerouting and postrouting also see packets from and to this machine's own addresses on the bridge.
	return nft(fmt.Sprintf(`table bridge %[1]s
delete table bridge %[1]s
table bridge %[1]s {
	chain out { type filter hook prerouting priority 0; policy accept;
%[2]s	}
	chain in { type filter hook postrouting priority 0; policy accept;
%[3]s	}
}
`, table(f.bridge), out.String(), in.String()))
}

func match(field string, from []netip.Addr) string {
	if len(from) == 0 {
		return ""
	}
	var list []string
	for _, a := range from {
		list = append(list, a.String())
	}
	return fmt.Sprintf(" ip %s { %s }", field, strings.Join(list, ", "))
}

// removeRules removes the table of a bridge. It does not change anything if there is none. That must also work where nft is not installed.
func removeRules(family, bridge string) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil //nolint:nilerr // without it, nobody has made a table
	}
	return nft(fmt.Sprintf("table %[1]s %[2]s\ndelete table %[1]s %[2]s\n", family, table(bridge)))
}

func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-") //nolint:noctx // it does not wait for anything
	cmd.Stdin = strings.NewReader(rules)
	var diagnostics bytes.Buffer
	cmd.Stderr = &diagnostics
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(diagnostics.String()))
	}
	return nil
}
