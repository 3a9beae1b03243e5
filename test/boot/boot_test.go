// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"husk/guest"
)

// probe prints a container's environment, as a process in it sees it.
const probe = `
echo args "$0" "$1" "$2"
echo env "$GREETING" "$HOME" "$HOSTNAME"
echo cwd "$(pwd)"
echo id "$(id -u):$(id -g)" groups "$(id -G)"
echo pid $$
echo host "$(hostname)"
echo file "$(cat /etc/app/config)"
echo escaped "$(cat /run/husk/volumes/data/pwned)"
echo hosts "$(grep -c pod-1 /etc/hosts)"
echo resolv "$(cat /etc/resolv.conf)"
echo addr "$(ip addr)"
echo route "$(ip route)"
echo rootmount "$(grep ' / ' /proc/mounts)"
echo fds "$(ls /proc/self/fd | wc -l)"
echo nproc "$(ls /proc | grep -c '^[0-9]')"
echo write > /ro/x || echo volume is read-only
echo seen "$(cat /ro/seed)"
echo tmp > /tmp/scratch && echo root is writable
busybox httpd -p 80 -h /tmp && echo listens on port 80
echo pings for groups $(cat /proc/sys/net/ipv4/ping_group_range)
busybox wget -q -O - "http://[::1]:80/scratch" | busybox sed "s/^/localhost on IPv6: /"
echo to-stderr >&2
echo dev-stdout > /dev/stdout
`

const server = `
mkdir -p /tmp/www && echo hello from loopback > /tmp/www/index.html
httpd -p 127.0.0.1:8080 -h /tmp/www
echo seed > /data/seed
trap 'echo terminated > /data/ending; exit 7' TERM
echo ready
while :; do sleep 0.05; done
`

const flaky = `
n=$(cat /data/count 2>/dev/null || echo 0); n=$((n+1)); echo $n > /data/count
echo run $n
test $n -ge 3 || exit 3
`

const client = `
until wget -q -O - http://127.0.0.1:8080/ && test -e /data/seed; do sleep 0.1; done
`

func TestBootedPodRunsItsContainers(t *testing.T) {
	t.Parallel()
	image := makeImage(t,
		entry{name: "escape", link: "../../../../../run/husk/volumes/data"},
		entry{name: "run/", mode: 0o755}, entry{name: "run/husk/", mode: 0o755},
		entry{name: "run/husk/volumes/", mode: 0o755}, entry{name: "run/husk/volumes/data/", mode: 0o755},
		entry{name: "etc/resolv.conf", link: "../run/resolve/stub"},
		entry{name: "bin/wc", link: "busybox"}, entry{name: "bin/mkdir", link: "busybox"},
	)
	volume := makeVolume(t)
	began := time.Now()
	v := bootVM(t, "256", []disk{{image, "image-1", true}, {volume, "volume-1", false}},
		"-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07")
	c := v.dial(t)
	hello, err := c.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	greeted := time.Since(began)

	sh := func(script string, args ...string) []string { return append([]string{"sh", "-c", script}, args...) }
	data := guest.Mount{Volume: "data", Path: "/data"}
	spec := guest.Spec{
		PodID: "pod-1", Hostname: "pod-1", Generation: 1, RestartPolicy: guest.RestartOnFailure,
		RestartBackoff: guest.Backoff{BaseMillis: 20},
		Network: &guest.Network{
			Card:        guest.Card{MAC: "52:54:00:00:00:07", Address: netip.MustParsePrefix("10.7.0.9/24"), Gateway: netip.MustParseAddr("10.7.0.1"), MTU: 1400},
			Nameservers: []netip.Addr{netip.MustParseAddr("10.7.0.2")}, Search: []string{"husk.internal"},
		},
		Volumes: []guest.Volume{{Name: "data", Serial: "volume-1", FSType: "ext4"}},
		Containers: []guest.Container{
			{Name: "server", ImageSerial: "image-1", Args: sh(server), Mounts: []guest.Mount{data}},
			{Name: "client", ImageSerial: "image-1", Args: sh(client), Mounts: []guest.Mount{data}},
			{Name: "flaky", ImageSerial: "image-1", Args: sh(flaky), Mounts: []guest.Mount{data}},
			{
				Name: "probe", ImageSerial: "image-1", Args: sh(`until test -e /ro/seed; do sleep 0.05; done;`+probe, "zero", "one", "two words"),
				Env: []string{"GREETING=no", "GREETING=good day"}, WorkingDir: "/tmp", User: "app",
				Files: []guest.File{
					{Path: "/etc/app/config", Content: []byte("injected"), Mode: 0o400, UID: 1000},
					{Path: "/escape/pwned", Content: []byte("inside"), Mode: 0o644},
				},
				Mounts: []guest.Mount{{Volume: "data", Path: "/ro", ReadOnly: true}},
			},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "a container runs", func(s guest.Status) bool {
		return s.Containers[0].State == guest.StateRunning
	})
	t.Logf("init up after %d ms in the guest; from QEMU's start: hello %v, a container running %v",
		hello.InitUpMillis, greeted.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	// The agent is killed, without closing its session, and another one connects.
	v2 := guestAfterAgentDeath(t, v, c)
	defer func() { logOnFailure(t, v2, "server", "client", "flaky", "probe") }()
	status := waitStatus(t, v2, "all containers except the server have ended", func(s guest.Status) bool {
		for _, c := range s.Containers[1:] {
			if c.State != guest.StateExited || c.ExitCode != 0 {
				return false
			}
		}
		return true
	})
	if again, err := v2.Start(t.Context(), spec); err != nil || again.Revision < status.Revision {
		t.Errorf("the same spec again: revision %d, %v; want at least %d, no error", again.Revision, err, status.Revision)
	}
	other := spec
	other.Generation++
	var refused *guest.CallError
	if _, err := v2.Start(t.Context(), other); !errors.As(err, &refused) || refused.Code != guest.CodeConflict {
		t.Errorf("another spec: %v; want a conflict", err)
	}
	if got := status.Containers[2].Restarts; got != 2 {
		t.Errorf("flaky was restarted %d times; want 2", got)
	}
	checkProbe(t, logsOf(t, v2, "probe"))
	if got := logsOf(t, v2, "client")[guest.Stdout]; !strings.Contains(got, "hello from loopback") {
		t.Errorf("client got %q over loopback", got)
	}
	if got, want := logsOf(t, v2, "flaky")[guest.Stdout], "run 1\nrun 2\nrun 3\n"; got != want {
		t.Errorf("flaky wrote %q; want %q", got, want)
	}

	if err := v2.Stop(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	final := waitStatus(t, v2, "the pod has stopped", func(s guest.Status) bool { return s.Stopped })
	if got := final.Containers[0]; got.ExitCode != 7 || final.Phase != guest.PhaseStopping || final.Error != "" {
		t.Errorf("the server ended with %+v in phase %s, error %q; want exit code 7", got, final.Phase, final.Error)
	}
	v.waitOff(t)
	if state := command(t, "dumpe2fs", "-h", volume); !regexp.MustCompile(`Filesystem state:\s+clean`).MatchString(state) ||
		strings.Contains(state, "needs_recovery") {
		t.Errorf("the volume was not unmounted: %s", state)
	}
	command(t, "e2fsck", "-fn", volume)
	for file, want := range map[string]string{"/ending": "terminated\n", "/count": "3\n"} {
		if got := command(t, "debugfs", "-R", "cat "+file, volume); !strings.HasSuffix(got, want) {
			t.Errorf("%s on the volume: %q; want %q", file, got, want)
		}
	}
	if got := command(t, "debugfs", "-R", "ls /", volume); strings.Contains(got, "pwned") {
		t.Errorf("a file was written outside of the container's root: %s", got)
	}
}

// guestAfterAgentDeath sends garbage and half a frame to the guest, as agents
// that were killed may do, and returns a new agent's client.
func guestAfterAgentDeath(t *testing.T, v *vm, c *guest.Client) *guest.Client {
	t.Helper()
	c.Close()
	for range 3 {
		conn := v.connect(t)
		if _, err := conn.Write([]byte("\xffhusk-host\x00\x01abc\x00\x00\x00\x01\x00\x00")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	return v.dial(t)
}

func checkProbe(t *testing.T, logs map[string]string) {
	t.Helper()
	for _, want := range []string{
		"args zero one two words\n", "env good day /home/app pod-1\n", "cwd /tmp\n", "id 1000:1000 groups 1000 50\n", "pid 1\n",
		"host pod-1\n", "file injected\n", "escaped inside\n", "hosts 1\n", "nameserver 10.7.0.2\nsearch husk.internal\n",
		"inet 10.7.0.9/24", "mtu 1400", "default via 10.7.0.1 dev eth0", "rootmount overlay / overlay rw",
		"volume is read-only\n", "seen seed\n", "root is writable\n", "dev-stdout\n", "listens on port 80\n", "pings for groups 0 2147483647\n", "localhost on IPv6: tmp\n",
	} {
		if !strings.Contains(logs[guest.Stdout], want) {
			t.Errorf("probe did not print %q", want)
		}
	}
	if !strings.Contains(logs[guest.Stderr], "to-stderr\n") {
		t.Errorf("stderr is %q", logs[guest.Stderr])
	}
	if t.Failed() {
		t.Logf("probe:\n%s", logs[guest.Stdout])
	}
}

func TestCommandNotFoundFailsThePod(t *testing.T) {
	t.Parallel()
	v := bootVM(t, "192", []disk{{makeImage(t), "image-1", true}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod-2", Hostname: "pod-2", RestartPolicy: guest.RestartAlways,
		Containers: []guest.Container{
			{Name: "sleeper", ImageSerial: "image-1", Args: []string{"sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"}},
			{Name: "broken", ImageSerial: "image-1", Args: []string{"no-such-program"}},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := waitStatus(t, c, "the pod has failed", func(s guest.Status) bool { return s.Phase == guest.PhaseFailed })
	if want := `container broken: exec: "no-such-program": not found in PATH`; s.Error != want {
		t.Errorf("error is %q; want %q", s.Error, want)
	}
	if got := s.Containers[1]; got.State != guest.StateExited || got.Reason != guest.ReasonStartError || got.ExitCode != 127 || got.Restarts != 0 {
		t.Errorf("broken is %+v", got)
	}
	waitStatus(t, c, "the other container has ended", func(s guest.Status) bool { return s.Containers[0].State != guest.StateRunning })
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}

func TestContainerOutOfMemoryIsKilledAlone(t *testing.T) {
	t.Parallel()
	v := bootVM(t, "160", []disk{{makeImage(t), "image-1", true}, {makeVolume(t), "volume-1", true}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod-3", Hostname: "pod-3", RestartPolicy: guest.RestartNever,
		Containers: []guest.Container{
			{Name: "hungry", ImageSerial: "image-1", Args: []string{"tail", "/dev/zero"}},
			{
				Name: "modest", ImageSerial: "image-1", Mounts: []guest.Mount{{Volume: "seed", Path: "/seed"}},
				Args: []string{"sh", "-c", "test -d /seed/lost+found && ! echo x > /seed/x && echo read-only; while :; do sleep 0.1; done"},
			},
		},
		Volumes: []guest.Volume{{Name: "seed", Serial: "volume-1", FSType: "ext4", ReadOnly: true}},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := waitStatus(t, c, "hungry has ended", func(s guest.Status) bool { return s.Containers[0].State == guest.StateExited })
	if got := s.Containers[0]; !got.OOMKilled || got.ExitCode != 137 || got.Reason != guest.ReasonOOMKilled {
		t.Errorf("hungry is %+v; want it OOM-killed", got)
	}
	if got := s.Containers[1]; got.State != guest.StateRunning {
		t.Errorf("modest is %+v; want it running", got)
	}
	if stats, err := c.Stats(t.Context()); err != nil || stats.Pod.OOMKills != 1 {
		t.Errorf("the pod counts %d OOM kills after its container hungry has ended: %v", stats.Pod.OOMKills, err)
	}
	eventually(t, "modest has found its volume read-only", func() bool {
		return logsOf(t, c, "modest")[guest.Stdout] == "read-only\n"
	})
	// A shell as PID 1 without a handler ignores SIGTERM: only SIGKILL ends it.
	if err := c.Stop(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	s = waitStatus(t, c, "the pod has stopped", func(s guest.Status) bool { return s.Stopped })
	if got := s.Containers[1]; got.Signal != 9 || got.ExitCode != 137 || got.OOMKilled {
		t.Errorf("modest is %+v; want it killed by signal 9", got)
	}
	v.waitOff(t)
}
