// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/guest"
	"husk/session"
)

// transcript is the output of a session and its end.
type transcript struct {
	stdout, stderr string
	status         session.Status
	err            error
}

// receiveAll receives until a session ends.
func receiveAll(conn session.Conn) transcript {
	var t transcript
	for {
		f, err := conn.Receive()
		if err != nil {
			t.err = err
			return t
		}
		switch f.Kind {
		case session.Stdout:
			t.stdout += string(f.Payload)
		case session.Stderr:
			t.stderr += string(f.Payload)
		case session.Exit:
			t.status, t.err = session.ParseStatus(f.Payload)
			return t
		default:
		}
	}
}

// open opens an exec session. It counts as open until it is closed, at the
// latest when the test ends.
func open(t *testing.T, c *guest.Client, e guest.Exec) session.Conn {
	t.Helper()
	if e.Container == "" {
		e.Container = "main"
	}
	conn, err := c.Exec(t.Context(), e)
	if err != nil {
		t.Fatalf("exec %q: %v", e.Args, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// run runs a command to its end and closes its session.
func run(t *testing.T, c *guest.Client, e guest.Exec) transcript {
	t.Helper()
	conn := open(t, c, e)
	defer conn.Close()
	return receiveAll(conn)
}

func sh(script string) guest.Exec { return guest.Exec{Args: []string{"sh", "-c", script}} }

// expect receives until the output so far contains a text.
func expect(t *testing.T, conn session.Conn, text string) {
	t.Helper()
	late := time.AfterFunc(bootWait/2, func() { conn.Close() })
	defer late.Stop()
	received := ""
	for !strings.Contains(received, text) {
		f, err := conn.Receive()
		if err != nil {
			t.Fatalf("after %q: %v; want %q", received, err, text)
		}
		if f.Kind == session.Exit {
			t.Fatalf("ended with %s after %q; want %q", f.Payload, received, text)
		}
		received += string(f.Payload)
	}
}

func TestSessionsInABootedPod(t *testing.T) {
	t.Parallel()
	image := makeImage(t, entry{name: "bin/tty", link: "busybox"}, entry{name: "bin/stty", link: "busybox"}, entry{name: "bin/ps", link: "busybox"},
		entry{name: "bin/nc", link: "busybox"}, entry{name: "bin/mkdir", link: "busybox"}, entry{name: "bin/ln", link: "busybox"},
		entry{name: "bin/dd", link: "busybox"}, entry{name: "bin/sha256sum", link: "busybox"}, entry{name: "bin/stat", link: "busybox"},
		entry{name: "bin/readlink", link: "busybox"}, entry{name: "bin/kill", link: "busybox"})
	v := bootVM(t, "256", []disk{{image, "image-1", true}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod-9", Hostname: "pod-9", RestartPolicy: guest.RestartNever,
		Containers: []guest.Container{
			{
				Name: "main", ImageSerial: "image-1", Env: []string{"COLOR=blue"}, WorkingDir: "/tmp", User: "app",
				Args: []string{"sh", "-c", "echo from-main > /tmp/mark; trap 'echo got-usr1' USR1; while :; do sleep 0.1; done"},
			},
			{Name: "root", ImageSerial: "image-1", Args: []string{"sh", "-c", "trap 'exit 0' TERM; mkdir -p /srv; ln -s /etc /srv/out; nc -ll -p 80 -e cat & while :; do sleep 0.1; done"}},
			{Name: "short", ImageSerial: "image-1", Args: []string{"sh", "-c", "exit 0"}},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "the containers run", func(s guest.Status) bool {
		return len(s.Containers) == 3 && s.Containers[0].State == guest.StateRunning && s.Containers[1].State == guest.StateRunning && s.Containers[2].State == guest.StateExited
	})

	t.Run("a command runs in the container, with its user and capabilities", func(t *testing.T) {
		got := run(t, c, sh(`echo $COLOR $(pwd) $(id -u):$(id -g) $(hostname) $(cat /tmp/mark) $HOME; echo oops >&2; ls -l /proc/1/exe >/dev/null; ps | grep -c main; grep CapEff /proc/self/status; exit 7`))
		if got.err != nil || got.status.Code != 7 || got.stderr != "oops\n" || !strings.HasPrefix(got.stdout, "blue /tmp 1000:1000 pod-9 from-main /home/app\n") ||
			!strings.Contains(got.stdout, "CapEff:\t0000000000000000") {
			t.Errorf("got %+v", got)
		}
		got = run(t, c, guest.Exec{Container: "root", Args: []string{"sh", "-c", "grep CapBnd /proc/self/status /proc/1/status; cat /proc/self/cgroup; for ns in pid mnt; do readlink /proc/self/ns/$ns; readlink /proc/1/ns/$ns; done"}})
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if len(lines) != 7 || lines[0][len(lines[0])-16:] != lines[1][len(lines[1])-16:] || lines[3] != lines[4] || lines[5] != lines[6] || !strings.HasPrefix(lines[2], "0::/exec.") {
			t.Errorf("the command is not in the container's namespaces and cgroup, or has other capabilities: %+v", got)
		}
	})
	t.Run("a command that does not exist", func(t *testing.T) {
		for want, e := range map[string]guest.Exec{
			guest.CodeNoCommand:     {Container: "main", Args: []string{"no-such-command"}},
			guest.CodeNotExecutable: {Container: "main", Args: []string{"/etc/passwd"}},
			guest.CodeNotFound:      {Container: "nothing", Args: []string{"sh"}},
			guest.CodeNotRunning:    {Container: "short", Args: []string{"sh"}},
		} {
			_, err := c.Exec(t.Context(), e)
			if refused, ok := errors.AsType[*guest.CallError](err); !ok || refused.Code != want {
				t.Errorf("%+v: %v; want %s", e, err, want)
			}
		}
	})
	t.Run("a terminal", func(t *testing.T) {
		conn := open(t, c, guest.Exec{Args: []string{"sh"}, TTY: true, Stdin: true, Size: session.Size{Cols: 91, Rows: 33}})
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(conn.Send(session.Stdin, []byte("stty size; tty; echo $TERM\n")))
		expect(t, conn, "33 91\r\n/dev/pts/0\r\nxterm\r\n")
		must(session.SendSize(conn, session.Size{Cols: 100, Rows: 40}))
		must(conn.Send(session.Stdin, []byte("stty size\n")))
		expect(t, conn, "40 100\r\n")
		must(conn.Send(session.Stdin, []byte("echo slee''ping; sleep 1000\n")))
		expect(t, conn, "sleeping\r\n")
		interrupted := make(chan struct{})
		var typing sync.WaitGroup
		typing.Go(func() { // repeatedly: an interrupt that arrives before sleep is in the foreground has no effect
			for {
				conn.Send(session.Stdin, []byte("\x03echo after=$?\n"))
				select {
				case <-interrupted:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
		expect(t, conn, "after=130")
		close(interrupted)
		typing.Wait()
		must(conn.Send(session.Stdin, []byte("exit 5\n")))
		if got := receiveAll(conn); got.status.Code != 5 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("input and EOF", func(t *testing.T) {
		e := sh("cat; exit 3")
		e.Stdin = true
		conn := open(t, c, e)
		if err := errors.Join(conn.Send(session.Stdin, []byte("one ")), conn.Send(session.Stdin, []byte("two")), conn.Send(session.EOF, nil)); err != nil {
			t.Fatal(err)
		}
		if got := receiveAll(conn); got.stdout != "one two" || got.status.Code != 3 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a signal", func(t *testing.T) {
		conn := open(t, c, sh("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"))
		expect(t, conn, "ready")
		if err := conn.Send(session.Signal, []byte("INT")); err != nil {
			t.Fatal(err)
		}
		if got := receiveAll(conn); got.stdout != "caught\n" || got.status.Code != 9 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a command ends when its client disconnects", func(t *testing.T) {
		handles := open(t, c, sh("trap 'echo hung > /tmp/hung; exit' HUP; echo ready; while :; do sleep 0.05; done"))
		ignores := open(t, c, sh("trap '' HUP; echo ready; cat /dev/zero > /dev/null & while :; do sleep 0.05; done"))
		expect(t, handles, "ready")
		expect(t, ignores, "ready")
		handles.Close()
		ignores.Close()
		eventually(t, "both have ended", func() bool {
			got := run(t, c, sh("cat /tmp/hung; ps | grep -v grep | grep -c -e ready -e /dev/zero"))
			return got.stdout == "hung\n0\n"
		})
	})
	t.Run("a command blocks while nobody reads its output", func(t *testing.T) {
		conn := open(t, c, sh("n=0; while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; n=$((n+1)); echo $n > /tmp/written; done"))
		expect(t, conn, "\n")
		counted := func() string { return run(t, c, sh("cat /tmp/written")).stdout }
		before, same := "", 0
		eventually(t, "the command blocks", func() bool {
			now := counted()
			if now != before || now == "" {
				before, same = now, 0
			}
			same++
			return same > 2
		})
		if _, err := c.Hello(t.Context()); err != nil {
			t.Errorf("other calls fail: %v", err)
		}
	})
	t.Run("a port", func(t *testing.T) {
		conn, err := c.Forward(t.Context(), 80)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		big := make([]byte, 1<<20)
		for i := range big {
			big[i] = byte(rand.Uint32())
		}
		go func() {
			for chunk := range slices.Chunk(big, session.Chunk) {
				conn.Send(session.Stdin, chunk)
			}
			conn.Send(session.EOF, nil)
		}()
		if got := receiveAll(conn); got.stdout != string(big) || got.err != nil {
			t.Errorf("received %d of %d bytes: %v", len(got.stdout), len(big), got.err)
		}
		_, err = c.Forward(t.Context(), 81)
		if refused, ok := errors.AsType[*guest.CallError](err); !ok || refused.Code != guest.CodeRefused {
			t.Errorf("forward to a closed port: %v", err)
		}
	})
	t.Run("files in and out", func(t *testing.T) { copyBothWays(t, c) })
	t.Run("statistics", func(t *testing.T) {
		s, err := c.Stats(t.Context())
		if err != nil || len(s.Containers) != 2 || s.Pod.MemoryTotal < 100<<20 || s.Pod.CPUMicros == 0 || len(s.Disks) != 1 || s.Disks[0].ReadBytes == 0 {
			t.Errorf("got %+v, %v", s, err)
		}
		for _, k := range s.Containers {
			if k.MemoryBytes == 0 || k.Processes == 0 || k.CPUMicros == 0 {
				t.Errorf("container %+v", k)
			}
		}
		t.Logf("%+v", s)
	})
	t.Run("attach", func(t *testing.T) {
		conn, err := c.Attach(t.Context(), guest.Attach{Container: "main"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Send(session.Signal, []byte("USR1")); err != nil {
			t.Fatal(err)
		}
		expect(t, conn, "got-usr1\n")
	})
	t.Run("too many sessions", func(t *testing.T) {
		var last error
		for range guest.MaxSessions + 1 {
			conn, err := c.Exec(t.Context(), guest.Exec{Container: "main", Args: []string{"sleep", "1000"}})
			if last = err; err != nil {
				break
			}
			defer conn.Close()
		}
		if refused, ok := errors.AsType[*guest.CallError](last); !ok || refused.Code != guest.CodeBusy {
			t.Errorf("got %v", last)
		}
	})
	conn := open(t, c, sh("sleep 1000"))
	if err := c.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if got := receiveAll(conn); got.status.Signal != 9 && got.err == nil {
		t.Errorf("a command still runs after its container was stopped: %+v", got)
	}
	v.waitOff(t)
}

func copyBothWays(t *testing.T, c *guest.Client) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, h := range []struct {
		tar.Header
		content string
	}{
		{tar.Header{Name: "tree/", Typeflag: tar.TypeDir, Mode: 0o750}, ""},
		{tar.Header{Name: "tree/big", Typeflag: tar.TypeReg, Mode: 0o640, Uid: 4242}, string(big)},
		{tar.Header{Name: "tree/sub/run", Typeflag: tar.TypeReg, Mode: 0o4755}, "#!/bin/sh\n"},
		{tar.Header{Name: "tree/link", Typeflag: tar.TypeSymlink, Linkname: "big"}, ""},
		{tar.Header{Name: "../../tree/climbed", Typeflag: tar.TypeReg, Mode: 0o600}, "x"},
	} {
		h.Size = int64(len(h.content))
		if err := w.WriteHeader(&h.Header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, h.content)
	}
	w.Close()
	put := func(where guest.Copy) transcript {
		conn, err := c.CopyIn(t.Context(), where)
		if err != nil {
			return transcript{err: err}
		}
		defer conn.Close()
		go func() {
			for chunk := range slices.Chunk(archive.Bytes(), session.Chunk) {
				conn.Send(session.Stdin, chunk)
			}
			conn.Send(session.EOF, nil)
		}()
		return receiveAll(conn)
	}
	if got := put(guest.Copy{Container: "root", Path: "/srv"}); got.err != nil {
		t.Fatalf("copy in: %v", got.err)
	}
	if got := put(guest.Copy{Container: "root", Path: "/srv/renamed", KeepOwners: true}); got.err != nil {
		t.Fatalf("copy in under another name: %v", got.err)
	}
	got := run(t, c, guest.Exec{Container: "root", Args: []string{"sh", "-c", "cd /srv; sha256sum tree/big renamed/big; stat -c '%n %a %u' tree tree/big tree/sub/run renamed/big; readlink tree/link; ls tree"}})
	sum := fmt.Sprintf("%x", sha256.Sum256(big))
	if want := sum + "  tree/big\n" + sum + "  renamed/big\ntree 750 0\ntree/big 640 0\ntree/sub/run 4755 0\nrenamed/big 640 4242\nbig\n" + "big\nclimbed\nlink\nsub\n"; got.stdout != want {
		t.Errorf("in the container:\n%s%s\nwant\n%s", got.stdout, got.stderr, want)
	}
	// Symbolic links are not followed out of the directory.
	archive.Reset()
	w = tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "out/pwned", Typeflag: tar.TypeReg, Size: 1})
	io.WriteString(w, "x")
	w.Close()
	if got := put(guest.Copy{Container: "root", Path: "/srv"}); got.err == nil {
		t.Error("an archive was unpacked through a symbolic link")
	}
	for want, where := range map[string]guest.Copy{
		guest.CodeNoFile:     {Container: "root", Path: "/absent/dir"},
		guest.CodeFailed:     {Container: "root", Path: "/proc"},
		guest.CodeNotRunning: {Container: "short", Path: "/"},
	} {
		got := put(where)
		if refused, ok := errors.AsType[*guest.CallError](got.err); !ok || refused.Code != want {
			t.Errorf("copy to %+v: %v; want %s", where, got.err, want)
		}
	}
	conn, err := c.CopyOut(t.Context(), guest.Copy{Container: "root", Path: "/srv/tree"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out := receiveAll(conn)
	names := ""
	for r := tar.NewReader(strings.NewReader(out.stdout)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names += h.Name + " "
		if h.Name == "tree/big" {
			if b, _ := io.ReadAll(r); !bytes.Equal(b, big) {
				t.Errorf("received %d of %d bytes", len(b), len(big))
			}
		}
	}
	if want := "tree/ tree/big tree/climbed tree/link tree/sub/ tree/sub/run "; names != want || out.status.Code != 0 {
		t.Errorf("the archive has %s(%+v); want %s", names, out.status, want)
	}
	if _, err := c.CopyOut(t.Context(), guest.Copy{Container: "root", Path: "/absent"}); err == nil {
		t.Error("a file that does not exist was copied")
	}
}
