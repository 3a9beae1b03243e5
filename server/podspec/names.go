// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"husk"
)

// checkNames checks the names that a pod knows, and the settings of its kernel.
func checkNames(h *husk.HostSettings) error {
	if h.DNSPolicy != husk.DNSNone {
		h.DNSPolicy = "" // the default
	} else if h.DNSConfig == nil || len(h.DNSConfig.Nameservers) == 0 {
		return husk.Errorf(husk.CodeInvalid, "spec.dnsConfig.nameservers", "with the DNS policy None, the pod has no other name servers; give at least one")
	}
	for i, a := range h.HostAliases {
		if err := checkAddress(a.IP, fmt.Sprintf("spec.hostAliases[%d].ip", i)); err != nil {
			return err
		}
	}
	if c := h.DNSConfig; c != nil {
		for i, a := range c.Nameservers {
			if err := checkAddress(a, fmt.Sprintf("spec.dnsConfig.nameservers[%d]", i)); err != nil {
				return err
			}
		}
	}
	names := map[string]bool{}
	for i, s := range h.Sysctls {
		field := fmt.Sprintf("spec.sysctls[%d].name", i)
		s.Name = strings.ReplaceAll(s.Name, "/", ".")
		if names[s.Name] {
			return husk.Errorf(husk.CodeInvalid, field, "two sysctls are named %q", s.Name)
		}
		names[s.Name] = true
		if strings.Contains(s.Name, "..") || !strings.HasPrefix(s.Name, "net.") && !strings.HasPrefix(s.Name, "fs.mqueue.") && !slices.Contains(ipcSysctls, s.Name) {
			return husk.Errorf(husk.CodeInvalid, field, "only sysctls of the network and of IPC can be set: net.*, fs.mqueue.*, %s", strings.Join(ipcSysctls, ", "))
		}
		h.Sysctls[i] = s
	}
	return nil
}

func checkAddress(text, field string) error {
	if _, err := netip.ParseAddr(text); err != nil {
		return husk.Errorf(husk.CodeInvalid, field, "%q is not an address such as 192.0.2.53 or 2001:db8::53", text)
	}
	return nil
}

// ipcSysctls are the sysctls of System V IPC, which Docker allows too.
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}
