// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

func sumOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// sumOutput returns the sum of a command's standard output, its standard error and its exit code.
func sumOutput(t *testing.T, tn *stack.Tenant, args ...string) (sum, errs string, code int) {
	t.Helper()
	cmd := tn.Husk(t.Context(), args...)
	hash := sha256.New()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = hash, &said
	err := cmd.Run()
	if _, failed := err.(*exec.ExitError); err != nil && !failed { //nolint:errorlint // exec returns it bare
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), said.String(), cmd.ProcessState.ExitCode()
}

// What a container writes arrives byte for byte, whichever way it is read.
func TestOutputArrivesByteForByte(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	var lines bytes.Buffer
	for n := range 1_000_000 {
		fmt.Fprintln(&lines, n+1)
	}
	for _, c := range []struct{ what, script, want, errs string }{
		{"a million lines", "seq 1 1000000", sumOf(lines.Bytes()), ""},
		{"more than the log keeps", "head -c 50000000 /dev/zero", sumOf(make([]byte, 50_000_000)), ""},
		{"no newline at the end", `printf 'a\nb'`, sumOf([]byte("a\nb")), ""},
		{"only standard error", `printf 'e\377' >&2`, sumOf(nil), "e\xff"},
	} {
		if sum, errs, code := sumOutput(t, tn, "run", "--rm", "-q", "-m", "128Mi", image, "sh", "-c", c.script); code != 0 || sum != c.want || errs != c.errs {
			t.Errorf("%s: exit code %d, the same: %t; %s", c.what, code, sum == c.want, errs)
		}
	}
	ran, errs, code := sumOutput(t, tn, "run", "-q", "--name", "cat", "-m", "128Mi", image, "sh", "-c", "cat /bin/busybox; exit 3")
	if code != 3 || errs != "" {
		t.Errorf("run: exit code %d, %s", code, errs)
	}
	if got := tn.Run(t, nil, "logs", "cat"); sumOf([]byte(got.Out)) != ran || got.Errs != "" {
		t.Errorf("the log has %d bytes; %s", len(got.Out), got.Errs)
	}
	one := stack.Start(t, tn.Husk(t.Context(), "run", "-i", "-q", "--name", "input", "-m", "128Mi", image, "sh", "-c", "cat /bin/busybox; exec sleep 1000000"))
	defer tn.Run(t, nil, "delete", "pod/input", "-q")
	var pod openapi.Pod
	stack.Eventually(t, time.Minute, func() (err error) {
		pod, err = tn.API.Pods.Find(t.Context(), "input")
		return err
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	stack.Eventually(t, time.Minute, func() error {
		if got := one.Output(); sumOf([]byte(got)) != ran {
			return fmt.Errorf("run -i has %d bytes", len(got))
		}
		return nil
	})
	if sum, errs, code := sumOutput(t, tn, "exec", "input", "cat", "/bin/busybox"); code != 0 || sum != ran {
		t.Errorf("exec: exit code %d, the same: %t; %s", code, sum == ran, errs)
	}
	file := filepath.Join(t.TempDir(), "busybox")
	if got := tn.Run(t, nil, "cp", "-q", "input:/bin/busybox", file); got.Code != 0 {
		t.Errorf("cp: %+v", got)
	} else if b, err := os.ReadFile(file); err != nil || sumOf(b) != ran {
		t.Errorf("cp: %d bytes, %v", len(b), err)
	}
	inside := tn.Run(t, nil, "exec", "input", "sha256sum", "/bin/busybox")
	if sum, _, _ := strings.Cut(inside.Out, " "); sum != ran {
		t.Errorf("in the container the sum is %s, but husk run has printed %s: %+v", sum, ran, inside)
	}
}

// Output that is missing in a log is shown where it is missing.
func TestALogShowsWhereOutputIsMissing(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	got := tn.Run(t, nil, "run", "-q", "--name", "flood", "-m", "128Mi", image, "sh", "-c", "echo begin; yes | head -c 40000000; echo end")
	if got.Code != 0 || len(got.Out) != 40_000_010 || !strings.HasSuffix(got.Out, "\nend\n") {
		t.Errorf("run: exit code %d, %d bytes; %s", got.Code, len(got.Out), got.Errs)
	}
	logs := tn.Run(t, nil, "logs", "flood")
	missing := 0
	for line := range strings.SplitSeq(strings.TrimSpace(logs.Errs), "\n") {
		var n int
		if _, err := fmt.Sscanf(line, "(%d bytes of output are missing here", &n); err != nil {
			t.Errorf("husk logs says %q", line)
		}
		missing += n
	}
	if missing == 0 || missing+len(logs.Out) != len(got.Out) {
		t.Errorf("husk logs prints %d bytes, and says that %d are missing, of %d", len(logs.Out), missing, len(got.Out))
	}
}

// A container that traps SIGTERM is heard to its end.
func TestLastWordsAreHeard(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "will", func(s *openapi.PodSpec) {
		s.TerminationGracePeriodSeconds = new(60)
		s.Containers = []openapi.Container{stack.Shell(image, `trap 'sleep 1; echo last words; exit 9' TERM; echo ready; while :; do sleep 0.1; done`)}
	})
	tn.WaitForLog(t, pod.ID, "", "ready")
	log := stack.Start(t, tn.Husk(t.Context(), "logs", "-f", "will"))
	attached := stack.Start(t, tn.Husk(t.Context(), "attach", "will"))
	log.Expect(t, "ready\n")
	stack.Eventually(t, time.Minute, func() error { // the container prints this for the attached client
		tn.Run(t, nil, "exec", "will", "sh", "-c", "echo attached > /proc/1/fd/1")
		if !strings.Contains(attached.Output(), "attached\n") {
			return io.ErrNoProgress
		}
		return nil
	})
	if got := tn.Run(t, nil, "delete", "pod/will", "-q"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	if code := attached.ExitCode(t); code != 9 || !strings.Contains(attached.Output(), "last words\n") {
		t.Errorf("attach: exit code %d, %q", code, attached.Output())
	}
	if code := log.ExitCode(t); code != 0 || strings.ReplaceAll(log.Output(), "attached\n", "") != "ready\nlast words\n" {
		t.Errorf("logs -f: exit code %d, %q", code, log.Output())
	}
}
