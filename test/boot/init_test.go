// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"strings"
	"testing"
	"time"

	"husk/guest"
)

// The orphans end when the shell has become a program that waits for nobody. Their entries stay, as zombies, until process 1 waits for them.
const orphansScript = `
zombies() { cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; }
report() {
	until grep -q ^sleep /proc/$$/cmdline; do sleep 0.1; done
	kill -9 $(cat /tmp/orphans)
	i=0; until test "$(zombies)" = 0 || test $i = 30; do sleep 0.1; i=$((i+1)); done
	echo zombies "$(zombies)"
	echo first "$(tr '\0' ' ' < /proc/1/cmdline)"
	echo privileges "$(grep NoNewPrivs /proc/1/status)" "$(grep CapEff /proc/1/status)" "$(grep ^Uid /proc/1/status)"
	echo memory "$(grep VmRSS /proc/1/status)"
}
n=0; while test $n -lt 20; do (sleep 600 & echo $! >> /tmp/orphans); n=$((n+1)); done
report &
exec sleep 600
`

// TestAnInitProcessWaitsForOrphansAndPassesSignalsOn boots a pod with the same program with and without an init process.
func TestAnInitProcessWaitsForOrphansAndPassesSignalsOn(t *testing.T) {
	t.Parallel()
	v := bootVM(t, "192", []disk{{makeImage(t, entry{name: "bin/tr", link: "busybox"}), "image-1", true}})
	c := v.dial(t)
	container := func(name string, o guest.Options, args ...string) guest.Container {
		return guest.Container{Name: name, ImageSerial: "image-1", Args: args, User: "1000", Options: o}
	}
	typed := container("typed", guest.Options{InitProcess: true}, "sh", "-c", `read line < /proc/$$/stat; set -- $line; test "$1 $5 $8" = "$1 $1 $1" && echo in the foreground`)
	typed.TTY, typed.Stdin = true, true
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever, RestartBackoff: guest.Backoff{BaseMillis: 1},
		Containers: []guest.Container{
			container("init", guest.Options{InitProcess: true, NoNewPrivileges: true}, "sh", "-c", orphansScript),
			container("plain", guest.Options{}, "sh", "-c", orphansScript),
			container("code", guest.Options{InitProcess: true}, "sh", "-c", "exit 7"),
			container("killed", guest.Options{InitProcess: true}, "sh", "-c", "kill -9 $$"),
			container("failing", guest.Options{RestartPolicy: guest.RestartOnFailure, MaxRestarts: 3}, "sh", "-c", "echo run; exit 5"),
			typed,
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "init", "plain", "code", "killed", "failing", "typed") }()
	of := func(s guest.Status, name string) guest.ContainerStatus {
		for _, c := range s.Containers {
			if c.Name == name {
				return c
			}
		}
		return guest.ContainerStatus{}
	}
	running := waitStatus(t, c, "the containers that end have ended", func(s guest.Status) bool {
		for _, name := range []string{"code", "killed", "failing", "typed"} {
			if of(s, name).State != guest.StateExited || of(s, "failing").Restarts < 3 {
				return false
			}
		}
		return true
	})
	for name, code := range map[string]int{"code": 7, "killed": 137, "failing": 5} {
		if got := of(running, name).ExitCode; got != code {
			t.Errorf("the exit code of %s is %d, want %d", name, got, code)
		}
	}
	waitFor := func(name, text string) string {
		t.Helper()
		var out string
		for deadline := time.Now().Add(bootWait); !strings.Contains(out, text) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			out = logsOf(t, c, name)[guest.Stdout]
		}
		return out
	}
	with, without := waitFor("init", "memory VmRSS"), waitFor("plain", "memory VmRSS")
	t.Logf("with:\n%s\nwithout:\n%s", with, without)
	for _, want := range []string{"zombies 0\n", "first husk-container-init /bin/sh sh -c", "NoNewPrivs:\t1 CapEff:\t0000000000000000 Uid:\t1000\t1000\t1000\t1000"} {
		if !strings.Contains(with, want) {
			t.Errorf("%q is not in the output with an init process:\n%s", want, with)
		}
	}
	if !strings.Contains(without, "zombies 20\n") {
		t.Errorf("the orphans are waited for without an init process, so this test shows nothing:\n%s", without)
	}
	if got := logsOf(t, c, "failing")[guest.Stdout]; got != strings.Repeat("run\n", 4) {
		t.Errorf("the failing container has run with the output %q, want 4 runs", got)
	}
	if got := logsOf(t, c, "typed")[guest.Stdout]; !strings.Contains(got, "in the foreground") {
		t.Errorf("the program with a terminal is not in its foreground: %q", got)
	}
	const grace = 5 * time.Second
	if err := c.Stop(t.Context(), grace); err != nil {
		t.Fatal(err)
	}
	stopped := waitStatus(t, c, "the pod has stopped", func(s guest.Status) bool { return s.Stopped })
	took := func(name string) time.Duration {
		return of(stopped, name).FinishedAt.Sub(of(stopped, "init").FinishedAt)
	}
	if code := of(stopped, "init").ExitCode; code != 143 {
		t.Errorf("the exit code of a program that SIGTERM has ended is %d, want 143", code)
	}
	if code := of(stopped, "plain").ExitCode; code != 137 || took("plain") < grace/2 {
		t.Errorf("without an init process, SIGTERM ended the program with code %d after %s, so this test shows nothing", code, took("plain"))
	}
	v.waitOff(t)
}
