// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"husk/guest"
)

const namesScript = `
echo "host $(hostname), variable $HOSTNAME"
echo "alias $(grep -c '^192.0.2.10	db db.example.com$' /etc/hosts) $(grep '^2001:db8::1' /etc/hosts)"
echo "own $(grep web-1 /etc/hosts)"
echo "resolv $(cat /etc/resolv.conf)"
echo "sysctls $(cat /proc/sys/net/core/somaxconn) $(cat /proc/sys/kernel/msgmax) $(cat /proc/sys/fs/mqueue/msg_max) $(cat /proc/sys/net/ipv4/ip_local_port_range)"
exec sleep 1000000
`

// TestNamesAndTime boots a pod with names, addresses and kernel parameters of its own, and corrects its clock.
func TestNamesAndTime(t *testing.T) {
	t.Parallel()
	image := makeImage(t, entry{name: "bin/date", link: "busybox"})
	v := bootVM(t, "192", []disk{{image, "image-1", true}}, "-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07")
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "web-1", RestartPolicy: guest.RestartNever,
		Network: &guest.Network{
			Card:        guest.Card{MAC: "52:54:00:00:00:07", Address: netip.MustParsePrefix("10.7.0.9/24"), Gateway: netip.MustParseAddr("10.7.0.1")},
			Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Search: []string{"example.com", "example.org"}, Options: []string{"ndots:2", "rotate"},
		},
		HostAliases: []guest.HostAlias{
			{IP: netip.MustParseAddr("192.0.2.10"), Hostnames: []string{"db", "db.example.com"}}, {IP: netip.MustParseAddr("2001:db8::1"), Hostnames: []string{"six"}},
		},
		Sysctls: []guest.Sysctl{
			{Name: "net.core.somaxconn", Value: "1234"},
			{Name: "kernel.msgmax", Value: "65530"},
			{Name: "fs.mqueue.msg_max", Value: "20"},
			{Name: "net.ipv4.ip_local_port_range", Value: "20000 20010"},
		},
		Containers: []guest.Container{{Name: "main", ImageSerial: "image-1", Args: []string{"sh", "-c", namesScript}, User: "app"}},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "main") }()
	eventually(t, "the container has printed what it sees", func() bool { return strings.Contains(logsOf(t, c, "main")[guest.Stdout], "sysctls ") })
	got := logsOf(t, c, "main")[guest.Stdout]
	for _, want := range []string{
		"host web-1, variable web-1\n", "alias 1 2001:db8::1\tsix\n", "own 10.7.0.9\tweb-1\n",
		"resolv nameserver 192.0.2.53\nsearch example.com example.org\noptions ndots:2 rotate\n", "sysctls 1234 65530 20 20000\t20010\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}

	for _, by := range []time.Duration{-time.Hour, 2 * time.Hour, -time.Hour} {
		before, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AdjustClock(t.Context(), by, before); err != nil {
			t.Fatal(err)
		}
		again, ok := errors.AsType[*guest.CallError](c.AdjustClock(t.Context(), by, before)) // as after an answer that was lost
		if !ok || again.Code != guest.CodeConflict {
			t.Errorf("the clock can be corrected twice for the same reason: %v", again)
		}
		after, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if moved := after.At.Sub(before.At) - by; moved < 0 || moved > bootWait {
			t.Errorf("the clock was moved by %v instead of %v", after.At.Sub(before.At), by)
		}
	}
	// The frequency of the TSC, which is measured at boot, can be wrong by far on a busy node.
	if got := run(t, c, guest.Exec{Container: "main", Args: []string{"cat", "/sys/devices/system/clocksource/clocksource0/current_clocksource"}}); got.stdout == "" || strings.HasPrefix(got.stdout, "tsc") {
		t.Errorf("the clock of an emulated machine is %+v", got)
	}
	if got := run(t, c, guest.Exec{Container: "main", Args: []string{"sh", "-c", "date -s '2000-01-01 00:00' >&2; date +%Y"}}); got.stdout == "2000\n" {
		t.Errorf("a container can set the clock: %+v", got)
	}
	if err := c.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}

// A parameter that the kernel does not have is the reason why the pod fails.
func TestAnUnknownSysctlIsReported(t *testing.T) {
	t.Parallel()
	v := bootVM(t, "176", []disk{{makeImage(t), "image-1", true}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever, Sysctls: []guest.Sysctl{{Name: "net.ipv4.no_such_thing", Value: "1"}},
		Containers: []guest.Container{{Name: "main", ImageSerial: "image-1", Args: []string{"sh"}}},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	ended := waitStatus(t, c, "the pod has failed", func(s guest.Status) bool { return s.Phase == guest.PhaseFailed })
	if want := "sysctl net.ipv4.no_such_thing: the kernel has no such parameter"; ended.Error != want {
		t.Errorf("the error is %q, want %q", ended.Error, want)
	}
}
