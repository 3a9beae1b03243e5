// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"strings"
	"testing"
	"time"

	"husk/guest"
)

const confinedScript = `
echo groups "$(id -G)"
echo bounding "$(grep CapBnd /proc/self/status)"
echo privileges "$(grep NoNewPrivs /proc/self/status)"
su -c id app >/dev/null 2>&1 || true
touch /new 2>/dev/null || echo root is read-only
touch /dev/shm/new && touch /data/new && echo volumes are writable
mount -t tmpfs none /mnt 2>/dev/null || echo mounting is refused
ls -ln /etc/secret
cat /etc/secret 2>/dev/null || echo secret is unreadable
echo files "$(ulimit -Sn) $(ulimit -Hn)" core "$(ulimit -c)"
i=0; while test $i -lt 3000; do echo "line $i"; i=$((i+1)); done > /dev/termination-log
`

const adminScript = `
mount -t tmpfs none /mnt && echo mounted
echo bounding "$(grep CapBnd /proc/self/status)"
echo cpu "$(cat /sys/fs/cgroup/cpu.max)"
`

const greedyScript = `x=$(cat /dev/zero | tr '\0' 'x' | head -c 100000000); echo "survived"`

const webScript = `
mkdir /tmp/www; echo hello > /tmp/www/index.html
httpd -p 8080 -h /tmp/www
trap 'echo got TERM; exit 0' TERM
while :; do sleep 0.2; done
`

// TestContainersAreWhatTheirSpecSays boots one pod whose containers use every option.
func TestContainersAreWhatTheirSpecSays(t *testing.T) {
	t.Parallel()
	var more []entry
	for _, applet := range []string{"touch", "tr", "head", "mkdir", "rm", "seq"} {
		more = append(more, entry{name: "bin/" + applet, link: "busybox"})
	}
	image := makeImage(t, append(more, entry{name: "mnt/", mode: 0o755})...)
	volume := makeVolume(t)
	v := bootVM(t, "384", []disk{{image, "image-1", true}, {volume, "volume-1", false}})
	c := v.dial(t)
	mounts := []guest.Mount{{Volume: "data", Path: "/data"}}
	container := func(name, script string, o guest.Options) guest.Container {
		return guest.Container{Name: name, ImageSerial: "image-1", Args: []string{"sh", "-c", script}, Mounts: mounts, Options: o}
	}
	initially := func(c guest.Container) guest.Container {
		c.Init = true
		return c
	}
	confined := container("confined", confinedScript, guest.Options{
		Groups: []string{"staff", "4711"}, CapabilitiesDrop: []string{"ALL"}, CapabilitiesAdd: []string{"SETUID"}, ReadOnlyRoot: true, NoNewPrivileges: true,
		RestartPolicy: guest.RestartNever, TerminationMessagePath: "/dev/termination-log",
		Ulimits: []guest.Ulimit{{Name: "nofile", Soft: 512, Hard: 600_000}, {Name: "core", Soft: guest.Unlimited, Hard: guest.Unlimited}},
	})
	confined.Files = []guest.File{{Path: "/etc/secret", Content: []byte("x"), UID: 1000, GID: 50}}
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartAlways, RestartBackoff: guest.Backoff{BaseMillis: 60_000}, GraceMillis: 20_000,
		Volumes: []guest.Volume{{Name: "data", Serial: "volume-1", FSType: "ext4"}},
		Containers: []guest.Container{
			initially(container("prepare", "test ! -e /data/prepared && echo yes > /data/prepared", guest.Options{})),
			initially(container("proxy", "test -e /data/prepared && exec httpd -f -p 8081 -h /data", guest.Options{
				RestartPolicy: guest.RestartAlways, StartupProbe: &guest.Probe{
					Action: guest.Action{HTTPGet: &guest.HTTPGet{Port: 8081, Path: "/prepared"}}, PeriodSeconds: 1, FailureThreshold: 60, TimeoutSeconds: 10,
				},
				PreStop: &guest.Hook{Action: guest.Action{Exec: []string{"sh", "-c", "grep -q web-is-stopped /data/stopped && echo stopped last > /data/order"}}},
			})),
			confined,
			container("admin", adminScript, guest.Options{CapabilitiesAdd: []string{"SYS_ADMIN"}, RestartPolicy: guest.RestartNever, Limits: guest.Limits{CPUMillis: 1500}}),
			container("greedy", greedyScript, guest.Options{Limits: guest.Limits{MemoryMiB: 24}, RestartPolicy: guest.RestartNever}),
			container("talker", "echo the reason; exit 3", guest.Options{
				TerminationMessagePath: "/tmp/why", TerminationMessageFromLog: true, RestartPolicy: guest.RestartNever,
			}),
			container("web", webScript, guest.Options{
				PostStart:    &guest.Hook{Action: guest.Action{Exec: []string{"sh", "-c", "echo started > /data/hook"}}},
				StartupProbe: &guest.Probe{Action: guest.Action{TCPPort: 8080}, PeriodSeconds: 1, FailureThreshold: 60},
				ReadinessProbe: &guest.Probe{
					Action: guest.Action{Exec: []string{"sh", "-c", "test -e /data/ready || { echo no file; exit 9; }"}}, PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 20,
				},
				PreStop: &guest.Hook{Action: guest.Action{Exec: []string{"sh", "-c", "echo web-is-stopped > /data/stopped"}}},
			}),
			container("sick", "trap 'exit 0' TERM; while :; do sleep 0.2; done", guest.Options{
				LivenessProbe: &guest.Probe{Action: guest.Action{HTTPGet: &guest.HTTPGet{Port: 8080, Path: "/missing"}}, PeriodSeconds: 1, TimeoutSeconds: 20},
			}),
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "prepare", "proxy", "confined", "admin", "greedy", "talker", "web", "sick") }()
	of := func(s guest.Status, name string) guest.ContainerStatus {
		for _, c := range s.Containers {
			if c.Name == name {
				return c
			}
		}
		return guest.ContainerStatus{}
	}
	status := waitStatus(t, c, "all have done their work", func(s guest.Status) bool {
		for _, name := range []string{"confined", "admin", "greedy", "talker"} {
			if of(s, name).State != guest.StateExited {
				return false
			}
		}
		return of(s, "sick").Reason == guest.ReasonBackOff && of(s, "web").Message != ""
	})
	wantOutput := func(name string, lines ...string) {
		t.Helper()
		got := logsOf(t, c, name)[guest.Stdout]
		for _, line := range lines {
			if !strings.Contains(got, line) {
				t.Errorf("%s does not print %q", name, line)
			}
		}
	}
	wantOutput("confined", "groups 0 50 4711", "bounding CapBnd:\t0000000000000080", "privileges NoNewPrivs:\t1", "root is read-only", "volumes are writable",
		"mounting is refused", "----------    1 1000     50", "secret is unreadable",
		"files 512 600000 core unlimited")
	wantOutput("admin", "mounted", "bounding CapBnd:\t00000000a02425fb", "cpu 150000 100000")
	if m := of(status, "confined").Message; len(m) > 4096 || !strings.HasSuffix(m, "line 2998\nline 2999\n") || len(m) < 4000 {
		t.Errorf("termination message of %d bytes: %q", len(m), m)
	}
	if got := of(status, "talker"); got.Message != "the reason" || got.ExitCode != 3 {
		t.Errorf("talker is %+v", got)
	}
	if got := of(status, "greedy"); !got.OOMKilled || got.Reason != guest.ReasonOOMKilled {
		t.Errorf("greedy is %+v", got)
	}
	if got := of(status, "sick"); got.Message != "the liveness probe failed: HTTP status 404" || *got.LastExitCode != 0 {
		t.Errorf("sick is %+v", got)
	}
	if got := of(status, "web"); *got.Ready || got.Message != "the readiness probe failed: exit code 9: no file" {
		t.Errorf("web is %+v", got)
	}
	run(t, c, guest.Exec{Container: "web", Args: []string{"touch", "/data/ready"}})
	waitStatus(t, c, "web is ready", func(s guest.Status) bool { return *of(s, "web").Ready })
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "the pod has stopped", func(s guest.Status) bool { return s.Stopped })
	v.waitOff(t)
	for file, want := range map[string]string{"hook": "started", "order": "stopped last"} {
		if got := command(t, "debugfs", "-R", "cat /"+file, volume); !strings.Contains(got, want) {
			t.Errorf("%s has %q; want %q", file, got, want)
		}
	}
}
