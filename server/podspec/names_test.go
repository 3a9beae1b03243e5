// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
)

func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host  husk.HostSettings
		field string
	}{
		"everything": {husk.HostSettings{
			HostAliases: []husk.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"a"}}, {IP: "2001:db8::1", Hostnames: []string{"b"}}}, DNSPolicy: husk.DNSNone,
			DNSConfig: &husk.DNSConfig{Nameservers: []string{"192.0.2.53"}}, Sysctls: []husk.Sysctl{{Name: "net.core.somaxconn", Value: "1"}, {Name: "kernel.sem"}, {Name: "fs.mqueue.msg_max"}},
		}, ""},
		"an alias without an address":        {husk.HostSettings{HostAliases: []husk.HostAlias{{IP: "1.2.3"}}}, "spec.hostAliases[0].ip"},
		"a name server without an address":   {husk.HostSettings{DNSConfig: &husk.DNSConfig{Nameservers: []string{"192.0.2.1", "::x"}}}, "spec.dnsConfig.nameservers[1]"},
		"no name servers at all":             {husk.HostSettings{DNSPolicy: husk.DNSNone}, "spec.dnsConfig.nameservers"},
		"a sysctl of the whole machine":      {husk.HostSettings{Sysctls: []husk.Sysctl{{Name: "kernel.core_pattern", Value: "|/bin/sh"}}}, "spec.sysctls[0].name"},
		"a sysctl of files":                  {husk.HostSettings{Sysctls: []husk.Sysctl{{Name: "fs.file-max"}}}, "spec.sysctls[0].name"},
		"a sysctl that leaves its directory": {husk.HostSettings{Sysctls: []husk.Sysctl{{Name: "net/../kernel/core_pattern"}}}, "spec.sysctls[0].name"},
		"the same sysctl twice":              {husk.HostSettings{Sysctls: []husk.Sysctl{{Name: "net.core.somaxconn"}, {Name: "net/core/somaxconn"}}}, "spec.sysctls[1].name"},
	} {
		err := checkNames(&c.host)
		got := ""
		if e, ok := errors.AsType[*husk.Error](err); ok {
			got = e.Field
		}
		if diff := cmp.Diff(c.field, got); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
