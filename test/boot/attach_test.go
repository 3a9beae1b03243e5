// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"husk/guest"
	"husk/session"
)

func attach(t *testing.T, c *guest.Client, a guest.Attach) session.Conn {
	t.Helper()
	conn, err := c.Attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn session.Conn, kind session.Kind, text string) {
	t.Helper()
	if err := conn.Send(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// Clients attach to containers with stdin and with a terminal, as in Docker and Kubernetes.
func TestAttachToABootedPod(t *testing.T) {
	t.Parallel()
	var more []entry
	for _, applet := range []string{"tty", "stty", "dd", "seq", "wc", "md5sum", "ps"} {
		more = append(more, entry{name: "bin/" + applet, link: "busybox"})
	}
	image := makeImage(t, more...)
	v := bootVM(t, "256", []disk{{image, "image-1", true}})
	c := v.dial(t)
	script := func(text string) []string { return []string{"sh", "-c", text} }
	spec := guest.Spec{
		PodID: "pod-8", Hostname: "pod-8", RestartPolicy: guest.RestartOnFailure, RestartBackoff: guest.Backoff{BaseMillis: 20},
		Containers: []guest.Container{
			{Name: "shell", ImageSerial: "image-1", Args: []string{"sh"}, Stdin: true, TTY: true, User: "app"},
			{Name: "cat", ImageSerial: "image-1", Args: script("echo begun; cat"), Stdin: true},
			{Name: "once", ImageSerial: "image-1", Args: script("cat; echo the end"), Stdin: true, StdinOnce: true, User: "app"},
			{Name: "screen", ImageSerial: "image-1", Args: script("tty; exec 0<&- 1>&- 2>&-; sleep 1; echo still here > /dev/tty; exec sleep 100000"), TTY: true},
			{Name: "mute", ImageSerial: "image-1", Args: script("cat; exec sleep 100000")},
			{Name: "flood", ImageSerial: "image-1", Args: script("read go; seq 1 300000 | md5sum > /tmp/sum; seq 1 300000; cat /tmp/sum; read end; exit 0"), Stdin: true},
			{Name: "reborn", ImageSerial: "image-1", Args: script("read code; echo ends with $code; exit $code"), Stdin: true},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "the containers run", func(s guest.Status) bool {
		for _, k := range s.Containers {
			if k.State != guest.StateRunning {
				return false
			}
		}
		return true
	})
	t.Cleanup(func() { logOnFailure(t, c, "shell", "cat", "once", "screen", "flood", "reborn") })

	t.Run("several clients share a terminal, which stays open when they leave", func(t *testing.T) {
		one := attach(t, c, guest.Attach{Container: "shell", Stdin: true, TTY: true, Size: session.Size{Cols: 91, Rows: 33}})
		two := attach(t, c, guest.Attach{Container: "shell"})
		send(t, one, session.Stdin, "stty size; tty; echo $TERM; id -u; echo own > /dev/stdout\n")
		for _, conn := range []session.Conn{one, two} {
			expect(t, conn, "33 91\r\n/dev/pts/0\r\nxterm\r\n1000\r\nown\r\n")
		}
		if err := session.SendSize(one, session.Size{Cols: 100, Rows: 40}); err != nil {
			t.Fatal(err)
		}
		if err := session.SendSize(two, session.Size{Cols: 10, Rows: 10}); err != nil { // ignored: this client has no terminal
			t.Fatal(err)
		}
		send(t, one, session.Stdin, "stty size\n")
		expect(t, one, "40 100\r\n")
		one.Close()
		three := attach(t, c, guest.Attach{Container: "shell", Stdin: true, TTY: true, Backlog: true})
		expect(t, three, "40 100\r\n") // from the backlog
		send(t, three, session.Stdin, "echo af''ter\n")
		expect(t, three, "after\r\n")
		expect(t, two, "after\r\n")
		send(t, three, session.Stdin, "echo slee''ping; sleep 1000\n")
		expect(t, three, "sleeping\r\n")
		eventually(t, "Ctrl-C ends the command in the terminal", func() bool {
			send(t, three, session.Stdin, "\x03")
			return run(t, c, guest.Exec{Container: "shell", Args: []string{"sh", "-c", "ps | grep -v grep | grep -c 'sleep 1000$'"}}).stdout == "0\n"
		})
		if lines := logsOf(t, c, "shell")[guest.Stdout]; !strings.Contains(lines, "\nafter\n") {
			t.Errorf("the log has %q", lines)
		}
	})
	t.Run("stdin stays open for the next client", func(t *testing.T) {
		one := attach(t, c, guest.Attach{Container: "cat", Stdin: true, Backlog: true})
		expect(t, one, "begun\n")
		send(t, one, session.Stdin, "a line\n")
		expect(t, one, "a line\n")
		send(t, one, session.EOF, "")
		one.Close()
		two := attach(t, c, guest.Attach{Container: "cat", Stdin: true})
		send(t, two, session.Stdin, "another")
		expect(t, two, "another") // without a newline
	})
	t.Run("stdinOnce ends stdin with the first client", func(t *testing.T) {
		one := attach(t, c, guest.Attach{Container: "once", Stdin: true})
		big := strings.Repeat("0123456789abcde\n", 1<<16)
		go func() {
			for i := 0; i < len(big); i += session.Chunk {
				one.Send(session.Stdin, []byte(big[i:min(i+session.Chunk, len(big))]))
			}
			one.Send(session.EOF, nil)
		}()
		if got := receiveAll(one); got.stdout != big+"the end\n" || got.status.Code != 0 || got.err != nil {
			t.Errorf("received %d of %d bytes: %+v %v", len(got.stdout), len(big), got.status, got.err)
		}
	})
	t.Run("attaching to a stdin or terminal that the container does not have is refused", func(t *testing.T) {
		for text, a := range map[string]guest.Attach{
			"created without stdin": {Container: "mute", Stdin: true},
			"created without tty":   {Container: "cat", TTY: true},
			"screen takes no input": {Container: "screen", Stdin: true},
		} {
			_, err := c.Attach(t.Context(), a)
			if refused, ok := errors.AsType[*guest.CallError](err); !ok || refused.Code != guest.CodeNoInput || !strings.Contains(refused.Message, text) {
				t.Errorf("%+v: %v", a, err)
			}
		}
		if got := run(t, c, guest.Exec{Container: "mute", Args: []string{"sh", "-c", "ps | grep -c 'sleep 100000$'"}}); got.stdout != "1\n" {
			t.Errorf("a container without stdin does not see the end of its input: %+v", got)
		}
	})
	t.Run("a terminal stays open when its program closes it", func(t *testing.T) {
		conn := attach(t, c, guest.Attach{Container: "screen", TTY: true, Backlog: true})
		expect(t, conn, "/dev/pts/0\r\n")
		if !strings.Contains(logsOf(t, c, "screen")[guest.Stdout], "still here") {
			expect(t, conn, "still here\r\n")
		}
	})
	t.Run("a client that does not read is disconnected, and the others miss nothing", func(t *testing.T) {
		idle := attach(t, c, guest.Attach{Container: "flood"})
		active := attach(t, c, guest.Attach{Container: "flood", Stdin: true})
		send(t, active, session.Stdin, "go\n")
		received := ""
		for !strings.Contains(received, "  -\n") {
			f, err := active.Receive()
			if err != nil || f.Kind.Final() {
				t.Fatalf("after %d bytes: %v %s", len(received), err, f.Payload)
			}
			received += string(f.Payload)
		}
		var want strings.Builder
		for n := range 300_000 {
			fmt.Fprintln(&want, n+1)
		}
		if !strings.HasPrefix(received, want.String()) {
			t.Errorf("%d bytes of %d", len(received), want.Len())
		}
		rest := receiveAll(idle)
		if refused, ok := errors.AsType[*guest.CallError](rest.err); !ok || refused.Code != guest.CodeSlow || !strings.HasPrefix(want.String(), rest.stdout) {
			t.Errorf("the client that did not read received %d bytes and %v", len(rest.stdout), rest.err)
		}
		send(t, active, session.Stdin, "end\n")
	})
	t.Run("an attach session continues across restarts", func(t *testing.T) {
		conn := attach(t, c, guest.Attach{Container: "reborn", Stdin: true})
		send(t, conn, session.Stdin, "3\n")
		expect(t, conn, "ends with 3\n")
		waitStatus(t, c, "the container is restarted", func(s guest.Status) bool {
			return s.Containers[6].Restarts == 1 && s.Containers[6].State == guest.StateRunning
		})
		send(t, conn, session.Stdin, "0\n")
		if got := receiveAll(conn); got.stdout != "ends with 0\n" || got.status.Code != 0 || got.err != nil {
			t.Errorf("got %+v", got)
		}
	})
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}
