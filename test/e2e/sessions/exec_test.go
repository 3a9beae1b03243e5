// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/session"
	"husk/test/stack"
)

// TestSessions tests what users do with a running pod, with the husk command.
func TestSessions(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	pod := tn.Create(t, "talk", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		main := stack.Shell(busybox, "httpd -p 80 -h /var/www; trap 'echo got-usr1' USR1; while :; do sleep 0.2; done")
		main.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		side := stack.Shell(busybox, "n=0; while :; do n=$((n+1)); echo side $n; sleep 0.5; done")
		side.Name = "side"
		s.Containers = []openapi.Container{main, side}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	at := "/v1/pods/" + pod.ID.String()
	const slowBytes = 1_000_000
	slow, _, err := tn.Dial(t, tn.Token(t, tn.Key), fmt.Sprintf("%s/exec?container=main&command=head&command=-c&command=%d&command=/dev/zero", at, slowBytes))
	if err != nil {
		t.Fatal(err)
	}

	t.Run("exec", func(t *testing.T) {
		if got := tn.Run(t, nil, "exec", "talk", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 7"); got != (stack.Result{Out: "out\n", Errs: "err\n", Code: 7}) {
			t.Errorf("got %+v", got)
		}
		if got := tn.Run(t, strings.NewReader("one\ntwo\n"), "exec", "-i", "-c", "main", "-e", "WHO=me", "-w", "/tmp", "talk", "--", "sh", "-c", "cat; echo $WHO; pwd"); got != (stack.Result{Out: "one\ntwo\nme\n/tmp\n"}) {
			t.Errorf("got %+v", got)
		}
		for code, args := range map[int][]string{
			127: {"exec", "-c", "main", "talk", "no-such-command"},
			126: {"exec", "-c", "main", "talk", "/etc/passwd"},
			2:   {"exec", "talk", "ls"}, // the pod has two containers, so -c is required
			3:   {"exec", "nobody", "ls"},
		} {
			if got := tn.Run(t, nil, args...); got.Code != code || !strings.HasPrefix(got.Errs, "husk: ") {
				t.Errorf("husk %v: %+v, want the exit code %d", args, got, code)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		k := stack.Start(t, tn.Husk(t.Context(), "exec", "-c", "main", "talk", "--", "sh", "-c", `trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done`))
		k.Expect(t, "ready")
		_ = k.Process.Signal(os.Interrupt)
		if code := k.ExitCode(t); code != 9 || !strings.Contains(k.Output(), "caught") {
			t.Errorf("exit code %d, output %q", code, k.Output())
		}
	})
	t.Run("killed", func(t *testing.T) {
		k := stack.Start(t, tn.Husk(t.Context(), "exec", "-c", "main", "talk", "--", "sh", "-c", `echo ready; exec sleep 98765`))
		k.Expect(t, "ready")
		_ = k.Process.Kill()
		stack.Eventually(t, 20*time.Second, func() error {
			if got := tn.Run(t, nil, "exec", "-c", "main", "talk", "--", "sh", "-c", "ps | grep -v grep | grep -c 98765"); strings.TrimSpace(got.Out) != "0" {
				return fmt.Errorf("the process still runs: %+v", got)
			}
			return nil
		})
	})
	t.Run("a terminal", func(t *testing.T) { typeInTerminal(t, tn) })
	t.Run("files", func(t *testing.T) { copyFiles(t, tn) })
	t.Run("ports", func(t *testing.T) { forwardPorts(t, tn) })
	t.Run("service", func(t *testing.T) { forwardToService(t, tn) })
	t.Run("top, console and attach", func(t *testing.T) {
		if got := tn.Run(t, nil, "top"); got.Code != 0 || !regexp.MustCompile(`(?m)^talk +main +\d+m +[0-9.]+Mi`).MatchString(got.Out) {
			t.Errorf("got %+v", got)
		} else {
			t.Logf("\n%s", got.Out)
		}
		stats, err := tn.API.Pods.Stats(t.Context(), pod.ID)
		if err != nil || len(stats.Disks) != 3 || stats.Pod.TxBytes == 0 {
			t.Errorf("statistics: %v %+v", err, stats)
		}
		k := stack.Start(t, tn.Husk(t.Context(), "console", "talk"))
		k.Expect(t, "husk-init: up")
		_ = k.Process.Signal(os.Interrupt)
		if code := k.ExitCode(t); code != 130 {
			t.Errorf("husk console exits with %d", code)
		}
		k = stack.Start(t, tn.Husk(t.Context(), "attach", "--sig-proxy=false", "-c", "side", "talk"))
		k.Expect(t, "side ")
		_ = k.Process.Signal(os.Interrupt)
		k.ExitCode(t)
	})
	t.Run("authorization", func(t *testing.T) { checkAuthorization(t, tn, pod.ID) })
	t.Run("a session that writes without end is slowed down, and other sessions work", func(t *testing.T) {
		conn, _, err := tn.Dial(t, tn.Token(t, tn.Key), at+"/exec?container=main&command=cat&command=/dev/zero")
		if err != nil {
			t.Fatal(err)
		}
		agent, server := rss(t, tn, "agent"), rss(t, tn, "server")
		stack.Receive(t, conn, "\x00")
		for range 20 { // without reading for two seconds
			time.Sleep(100 * time.Millisecond)
			if got := tn.Run(t, nil, "exec", "-c", "main", "talk", "true"); got.Code != 0 {
				t.Fatalf("another session fails: %+v", got)
			}
		}
		if a, s := rss(t, tn, "agent")-agent, rss(t, tn, "server")-server; a > 32 || s > 32 {
			t.Errorf("the session takes %d MiB of the agent's memory and %d MiB of the server's", a, s)
		}
	})
	t.Run("a client that reads late misses nothing", func(t *testing.T) { // the command ended long ago
		received := 0
		for {
			f, err := slow.Receive()
			if err != nil {
				t.Fatalf("after %d bytes: %v", received, err)
			}
			if f.Kind.Final() {
				if s, err := session.ParseStatus(f.Payload); f.Kind != session.Exit || err != nil || s.Code != 0 || received != slowBytes {
					t.Errorf("after %d bytes the session ends with %d %s", received, f.Kind, f.Payload)
				}
				return
			}
			received += len(f.Payload)
		}
	})
	t.Run("sessions are in the audit log", func(t *testing.T) {
		audit, err := client.Collect(tn.API.Audit(t.Context(), client.AuditSelect{}))
		if err != nil {
			t.Fatalf("audit: %v", err)
		}
		seen := map[string]bool{}
		for _, e := range audit {
			if e.ObjectID != nil && *e.ObjectID == pod.ID.String() {
				seen[e.Operation+" "+stack.Value(e.Detail)] = true
			}
		}
		for _, want := range []string{
			`execInPod container main: sh -c "echo out; echo err >&2; exit 7"`, "execInPod container main: no-such-command", "attachToPod container side: attach",
			"forwardPodPort port 80", "copyToPod container main: to /data/big", "copyFromPod container main: from /data/big",
		} {
			if !seen[want] {
				t.Errorf("the audit log does not have %q", want)
			}
		}
	})
}

// rss returns the resident memory of a part of the stack, in MiB.
func rss(t testing.TB, tn *stack.Tenant, part string) int {
	t.Helper()
	pid, err := tn.PID(part)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	for line := range strings.Lines(string(raw)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// typeInTerminal types commands in a terminal of husk exec -it.
func typeInTerminal(t *testing.T, tn *stack.Tenant) {
	s := tn.OnScreen(t, 91, 33, "exec", "-it", "-c", "main", "talk", "--", "sh")
	s.Type("stty size\r")
	s.Expect(t, "33 91")
	s.Resize(100, 40)
	s.TypeUntil("stty size\r", "40 100")
	s.Type("echo sle''eping; sleep 1000\r")
	s.Expect(t, "sleeping")
	s.TypeUntil("\x03echo after=$?\r", "after=130") // an interrupt that arrives before sleep is in the foreground has no effect
	s.Type("exit 5\r")
	if code := s.ExitCode(t); code != 5 {
		t.Errorf("exit code %d: %s", code, s.Output())
	}
}
