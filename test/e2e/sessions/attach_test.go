// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/openapi"
	"husk/session"
	"husk/test/pace"
	"husk/test/stack"
)

// husk attach to containers that were created with stdin and tty.
func TestAttach(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "desk", func(s *openapi.PodSpec) {
		echo := openapi.Container{Name: "echo", Image: busybox, Command: &[]string{"cat"}, Stdin: new(true), Tty: new(true)}
		shell := openapi.Container{Name: "shell", Image: busybox, Command: &[]string{"sh"}, Stdin: new(true), Tty: new(true)}
		open := openapi.Container{Name: "open", Image: busybox, Command: &[]string{"cat"}, Stdin: new(true)}
		plain := openapi.Container{Name: "plain", Image: busybox, Command: &[]string{"sleep", "1000000"}}
		s.Containers = []openapi.Container{echo, shell, open, plain}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	state := func(name string) openapi.ContainerStatus {
		t.Helper()
		now, err := tn.Get(t.Context(), pod.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range now.Status.Containers {
			if s.Name == name {
				return s
			}
		}
		return openapi.ContainerStatus{}
	}

	t.Run("input is echoed, and the container continues after a detach", func(t *testing.T) {
		one := tn.OnScreen(t, 80, 24, "attach", "-it", "desk", "-c", "echo")
		one.Type("one line\r")
		one.Expect(t, "one line\r\none line\r\n") // the echo of the terminal, and the output of cat
		two := stack.Start(t, tn.Husk(t.Context(), "attach", "desk", "-c", "echo"))
		stack.Eventually(t, 20*time.Second, func() error { // the test cannot know when the second client starts to receive output
			one.Type("another line\r")
			if !strings.Contains(two.Output(), "another line") {
				return fmt.Errorf("the second client received %q", two.Output())
			}
			return nil
		})
		one.Type("\x10\x11")
		one.Expect(t, "pod/desk is still running")
		if code := one.ExitCode(t); code != 0 {
			t.Errorf("detached with the exit code %d: %s", code, one.Output())
		}
		if s := state("echo"); s.State != openapi.ContainerStatusStateRunning || s.Restarts != 0 {
			t.Errorf("the container is %+v", s)
		}
		three := tn.OnScreen(t, 80, 24, "attach", "-it", "desk", "-c", "echo")
		three.Type("it goes on\r")
		three.Expect(t, "it goes on\r\nit goes on\r\n")
		two.Expect(t, "it goes on")
		three.Type("\x10\x11")
		three.ExitCode(t)
	})
	t.Run("the terminal has the size of the client's screen", func(t *testing.T) {
		s := tn.OnScreen(t, 91, 33, "attach", "-it", "desk", "-c", "shell")
		s.TypeUntil("stty size\r", "33 91")
		s.Resize(100, 40)
		s.TypeUntil("stty size\r", "40 100")
		s.Type("exit 4\r") // restartPolicy Always restarts the container, and the client stays attached
		s.TypeUntil("echo re''born\r", "reborn")
	})
	t.Run("stdin stays open for the next client", func(t *testing.T) {
		at := "/v1/pods/" + pod.ID.String() + "/attach?container=open&stdin=true"
		for _, word := range []string{"first", "second"} {
			conn, _, err := tn.Dial(t, tn.Token(t, tn.Key), at)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Send(session.Stdin, []byte(word+"\n")); err != nil {
				t.Fatal(err)
			}
			stack.Receive(t, conn, word)
			if err := conn.Send(session.EOF, nil); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if s := state("open"); s.State != openapi.ContainerStatusStateRunning || s.Restarts != 0 {
			t.Errorf("the container is %+v", s)
		}
		if got := tn.Run(t, strings.NewReader("x"), "attach", "-i", "desk", "-c", "plain"); got.Code != 5 || !strings.Contains(got.Errs, "has no standard input") {
			t.Errorf("got %+v", got)
		}
		if got := tn.Run(t, nil, "logs", "desk", "-c", "open"); got.Out != "first\nsecond\n" {
			t.Errorf("the log is %q", got.Out)
		}
	})
	t.Run("as docker run -i", func(t *testing.T) {
		lines := strings.Repeat("0123456789abcde\n", 1<<14) // 256 KiB
		if got := tn.Run(t, strings.NewReader(lines), "run", "-i", "--rm", "-q", "--name", "filter", "-m", "128Mi", busybox, "sh", "-c", "cat; exit 3"); got.Code != 3 || got.Out != lines {
			t.Errorf("exit code %d, %d bytes of %d; %s", got.Code, len(got.Out), len(lines), got.Errs)
		}
		if got := tn.Run(t, nil, "pod", "filter"); got.Code != 3 {
			t.Errorf("the pod still exists: %+v", got)
		}
	})
	t.Run("as docker run -it", func(t *testing.T) {
		s := tn.OnScreen(t, 91, 33, "run", "-it", "--rm", "--name", "shell", "-m", "128Mi", busybox, "sh", "-c", "echo wel''come; exec sh")
		s.Expect(t, "welcome\r\n") // although it was written before the client attached
		s.Type("\x10\x11")
		s.Expect(t, `run "husk attach -it shell"`)
		if code := s.ExitCode(t); code != 0 {
			t.Errorf("detached with the exit code %d: %s", code, s.Output())
		}
		s = tn.OnScreen(t, 91, 33, "attach", "-it", "shell")
		s.Type("stty size; tty\r")
		s.Expect(t, "33 91\r\n/dev/pts/0\r\n")
		s.Type("exit 7\r")
		if code := s.ExitCode(t); code != 7 {
			t.Errorf("exit code %d: %s", code, s.Output())
		}
	})
	t.Run("attached clients receive a problem when the machine dies", func(t *testing.T) {
		conn, _, err := tn.Dial(t, tn.Token(t, tn.Key), "/v1/pods/"+pod.ID.String()+"/attach?container=plain")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(stack.QEMU(pod.ID), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(pace.Limit(20*time.Second), func() { _ = conn.Close() })
		defer timer.Stop()
		f, err := conn.Receive()
		if err != nil || f.Kind != session.Problem || !strings.Contains(string(f.Payload), "unavailable") {
			t.Errorf("the client received %d %s, %v", f.Kind, f.Payload, err)
		}
	})
}
