package e2e

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"husk/openapi"
	"husk/session"
)

// screen is a terminal on which husk runs, as a person has it.
type screen struct {
	*talker
	t      testing.TB
	master *os.File
}

func (tn *tenant) onScreen(t testing.TB, cols, rows uint16, args ...string) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	s := &screen{t: t, master: master}
	s.resize(cols, rows)
	cmd := tn.husk(t.Context(), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.talker = start(t, cmd)
	go func() { _, _ = io.Copy(s.talker, master) }()
	return s
}

func (s *screen) resize(cols, rows uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) typed(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, text); err != nil {
		s.t.Fatal(err)
	}
}

// Containers that were ordered with an input and a terminal, with the command line that people have.
func TestAttach(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	pod := tn.order(t, "desk", func(s *openapi.PodSpec) {
		echo := openapi.Container{Name: "echo", Image: busybox, Command: &[]string{"cat"}, Stdin: new(true), Tty: new(true)}
		shell := openapi.Container{Name: "shell", Image: busybox, Command: &[]string{"sh"}, Stdin: new(true), Tty: new(true)}
		open := openapi.Container{Name: "open", Image: busybox, Command: &[]string{"cat"}, Stdin: new(true)}
		plain := openapi.Container{Name: "plain", Image: busybox, Command: &[]string{"sleep", "1000000"}}
		s.Containers = []openapi.Container{echo, shell, open, plain}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	state := func(name string) openapi.ContainerStatus {
		t.Helper()
		now, err := tn.get(t.Context(), pod.ID)
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

	t.Run("a line comes back, and it runs on when its screen is left", func(t *testing.T) {
		one := tn.onScreen(t, 80, 24, "attach", "-it", "desk", "-c", "echo")
		one.typed("one line\r")
		one.expect(t, "one line\r\none line\r\n") // the terminal's echo, and cat's
		two := start(t, tn.husk(t.Context(), "attach", "desk", "-c", "echo"))
		eventually(t, 20*time.Second, func() error { // from when on it sees output, nobody is told
			one.typed("another line\r")
			if !strings.Contains(two.said(), "another line") {
				return fmt.Errorf("it says %q", two.said())
			}
			return nil
		})
		one.typed("\x10\x11")
		one.expect(t, "pod/desk goes on")
		if code := one.exit(t); code != 0 {
			t.Errorf("left with %d: %s", code, one.said())
		}
		if s := state("echo"); s.State != openapi.ContainerStatusStateRunning || s.Restarts != 0 {
			t.Errorf("the container is %+v", s)
		}
		again := tn.onScreen(t, 80, 24, "attach", "-it", "desk", "-c", "echo")
		again.typed("it goes on\r")
		again.expect(t, "it goes on\r\nit goes on\r\n")
		two.expect(t, "it goes on")
		again.typed("\x10\x11")
		again.exit(t)
	})
	t.Run("the size of the screen is the terminal's", func(t *testing.T) {
		s := tn.onScreen(t, 91, 33, "attach", "-it", "desk", "-c", "shell")
		eventually(t, 20*time.Second, func() error {
			s.typed("stty size\r")
			if time.Sleep(300 * time.Millisecond); !strings.Contains(s.said(), "33 91") {
				return fmt.Errorf("it says %q", s.said())
			}
			return nil
		})
		s.resize(100, 40)
		eventually(t, 20*time.Second, func() error {
			s.typed("stty size\r")
			if time.Sleep(300 * time.Millisecond); !strings.Contains(s.said(), "40 100") {
				return fmt.Errorf("it says %q", s.said())
			}
			return nil
		})
		s.typed("exit 4\r") // and restartPolicy Always starts it again, on this screen
		eventually(t, 30*time.Second, func() error {
			s.typed("echo re''born\r")
			if time.Sleep(300 * time.Millisecond); !strings.Contains(s.said(), "reborn") {
				return fmt.Errorf("it says %q", s.said())
			}
			return nil
		})
	})
	t.Run("an input that stays open", func(t *testing.T) {
		at := "/v1/pods/" + pod.ID.String() + "/attach?container=open&stdin=true"
		for _, word := range []string{"first", "second"} {
			conn, _, err := tn.dial(t, tn.token(t, tn.key), at)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Send(session.Stdin, []byte(word+"\n")); err != nil {
				t.Fatal(err)
			}
			hear(t, conn, word)
			if err := conn.Send(session.EOF, nil); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if s := state("open"); s.State != openapi.ContainerStatusStateRunning || s.Restarts != 0 {
			t.Errorf("the container is %+v", s)
		}
		if got := tn.run(t, strings.NewReader("x"), "attach", "-i", "desk", "-c", "plain"); got.code != 5 || !strings.Contains(got.errs, "has no standard input") {
			t.Errorf("got %+v", got)
		}
		if got := tn.run(t, nil, "logs", "desk", "-c", "open"); got.out != "first\nsecond\n" {
			t.Errorf("the log is %q", got.out)
		}
	})
	t.Run("as docker run -i", func(t *testing.T) {
		lines := strings.Repeat("0123456789abcde\n", 1<<14) // 256 KiB
		if got := tn.run(t, strings.NewReader(lines), "run", "-i", "--rm", "-q", "--name", "filter", "-m", "128Mi", busybox, "sh", "-c", "cat; exit 3"); got.code != 3 || got.out != lines {
			t.Errorf("exit code %d, %d bytes of %d; %s", got.code, len(got.out), len(lines), got.errs)
		}
		if got := tn.run(t, nil, "pod", "filter"); got.code != 3 {
			t.Errorf("it is still there: %+v", got)
		}
	})
	t.Run("as docker run -it", func(t *testing.T) {
		s := tn.onScreen(t, 91, 33, "run", "-it", "--rm", "--name", "shell", "-m", "128Mi", busybox, "sh", "-c", "echo wel''come; exec sh")
		s.expect(t, "welcome\r\n") // though it was written before anybody was there
		s.typed("\x10\x11")
		s.expect(t, "husk attach -it shell comes back to it")
		if code := s.exit(t); code != 0 {
			t.Errorf("left with %d: %s", code, s.said())
		}
		s = tn.onScreen(t, 91, 33, "attach", "-it", "shell")
		s.typed("stty size; tty\r")
		s.expect(t, "33 91\r\n/dev/pts/0\r\n")
		s.typed("exit 7\r")
		if code := s.exit(t); code != 7 {
			t.Errorf("exit code %d: %s", code, s.said())
		}
	})
	t.Run("who is attached to a machine that dies is told at once", func(t *testing.T) {
		conn, _, err := tn.dial(t, tn.token(t, tn.key), "/v1/pods/"+pod.ID.String()+"/attach?container=plain")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(qemu(pod.ID.String()), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(20*time.Second, func() { _ = conn.Close() })
		defer late.Stop()
		f, err := conn.Receive()
		if err != nil || f.Kind != session.Problem || !strings.Contains(string(f.Payload), "unavailable") {
			t.Errorf("it is told %d %s, %v", f.Kind, f.Payload, err)
		}
	})
}
