// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"husk/session"
)

func TestASessionReachesTheGuest(t *testing.T) {
	t.Parallel()
	c := dialFake(t, serveFake(t, newFakeHandler()).connect(""))
	conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	big := slices.Repeat([]byte("x"), session.MaxPayload)
	for _, sent := range [][]byte{[]byte("hello"), big} {
		if err := conn.Send(session.Stdin, sent); err != nil {
			t.Fatal(err)
		}
		if f, err := conn.Receive(); err != nil || f.Kind != session.Stdout || !slices.Equal(f.Payload, sent) {
			t.Fatalf("received %d with %d bytes, %v", f.Kind, len(f.Payload), err)
		}
	}
	if err := conn.Send(session.EOF, nil); err != nil {
		t.Fatal(err)
	}
	f, err := conn.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := session.ParseStatus(f.Payload); f.Kind != session.Exit || err != nil || s.Code != 7 {
		t.Errorf("the session ends with %+v, %v", f, err)
	}
	stats, err := c.Stats(t.Context())
	if err != nil || stats.Pod.CPUs != 2 || stats.Containers[0].CPUMicros != 7 {
		t.Errorf("statistics: %+v, %v", stats, err)
	}
}

func TestTheReasonForARefusedSessionIsReturned(t *testing.T) {
	t.Parallel()
	c := dialFake(t, serveFake(t, newFakeHandler()).connect(""))
	ctx := t.Context()
	for want, begin := range map[string]func() (session.Conn, error){
		CodeNotFound:   func() (session.Conn, error) { return c.Exec(ctx, Exec{Container: "b", Args: []string{"x"}}) },
		CodeInvalid:    func() (session.Conn, error) { return c.Exec(ctx, Exec{Container: "a"}) },
		CodeNotRunning: func() (session.Conn, error) { return c.Attach(ctx, Attach{Container: "a"}) },
		CodeRefused:    func() (session.Conn, error) { return c.Forward(ctx, 80) },
		CodeNoFile:     func() (session.Conn, error) { return c.CopyOut(ctx, Copy{Container: "a", Path: "/x"}) },
		CodeFailed:     func() (session.Conn, error) { return c.CopyIn(ctx, Copy{Container: "a", Path: "/x"}) },
	} {
		_, err := begin()
		if refused, ok := errors.AsType[*CallError](err); !ok || refused.Code != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAFaultEndsASession(t *testing.T) {
	t.Parallel()
	c := dialFake(t, serveFake(t, newFakeHandler()).connect(""))
	conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(session.Signal, []byte("INT")); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Receive()
	if fault, ok := errors.AsType[*CallError](err); !ok || fault.Code != CodeFailed || fault.Message != "signalled with INT" {
		t.Errorf("received %v", err)
	}
}

func TestSessionsAreCounted(t *testing.T) {
	t.Parallel()
	c := dialFake(t, serveFake(t, newFakeHandler()).connect(""))
	var open []session.Conn
	for range MaxSessions {
		conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	_, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
	if refused, ok := errors.AsType[*CallError](err); !ok || refused.Code != CodeBusy {
		t.Errorf("a session above the limit: %v", err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Errorf("other calls fail: %v", err)
	}
	open[0].Close()
	open[0].Close() // a second close has no effect
	conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
	if err != nil {
		t.Errorf("after one session was closed: %v", err)
	}
	if _, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}}); err == nil {
		t.Error("closing a stream twice freed two slots")
	}
	for _, o := range append(open, conn) {
		o.Close()
	}
}

// The client checks the frames of a guest before it returns them.
func TestInvalidFramesInASessionAreRefused(t *testing.T) {
	t.Parallel()
	yes := string(frameOf(`{"v":1}`))
	for name, sent := range map[string]string{
		"input from a pod":       "\x00\x00\x00\x00\x01x",
		"a size from a pod":      "\x03\x00\x00\x00\x02{}",
		"an unknown kind":        "\x08\x00\x00\x00\x00",
		"a giant frame":          "\x01\xff\xff\xff\xff",
		"an exit code above 255": "\x06\x00\x00\x00\x0c{\"code\":900}",
		"no JSON":                "\x06\x00\x00\x00\x01x",
		"half a frame":           "\x01\x00\x00\x00\x09x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := hostileGuest(t, answering(func(string) []byte { return []byte(yes + sent) }))
			conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"x"}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if f, err := conn.Receive(); err == nil {
				t.Errorf("received %+v", f)
			}
		})
	}
	t.Run("text with control characters", func(t *testing.T) {
		t.Parallel()
		fault := `{"code":"x","detail":"\u001b[31mred` + strings.Repeat("y", 5000) + `"}`
		c := hostileGuest(t, answering(func(string) []byte {
			return append([]byte(yes+"\x07"), frameOf(fault)...)
		}))
		conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = conn.Receive()
		if e, ok := errors.AsType[*CallError](err); !ok || strings.ContainsRune(e.Message, '\x1b') || len(e.Message) > session.MaxDetail {
			t.Errorf("received %v", err)
		}
	})
	t.Run("impossible numbers", func(t *testing.T) {
		t.Parallel()
		for _, stats := range []string{
			`{"pod":{"cpus":-1}}`, `{"pod":{"cpus":1,"pressure":{"cpu":10001}}}`, `{"pod":{},"containers":[{"name":"../x"}]}`,
			`{"pod":{},"containers":[{"name":"a"},{"name":"a"}]}`, `{"pod":{},"disks":[{"serial":"a/b"}]}`, `{"pod":{"cpuMicros":-1}}`,
			`{"pod":{},"disks":[` + strings.Repeat(`{"serial":"a"},`, maxDisks) + `{"serial":"a"}]}`,
		} {
			c := hostileGuest(t, answering(func(string) []byte { return frameOf(`{"v":1,"stats":` + stats + `}`) }))
			if s, err := c.Stats(t.Context()); err == nil {
				t.Errorf("accepted %+v", s)
			}
		}
	})
}

func TestAGuestThatDoesNotBeginASessionFailsOnlyTheCall(t *testing.T) {
	t.Parallel()
	c := hostileGuest(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(ctx, Exec{Container: "a", Args: []string{"x"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want the context's deadline", err)
	}
	if n := len(c.sessions); n != 0 {
		t.Errorf("%d streams are counted", n)
	}
}

// A slow reader receives the whole output, even if the command ended long ago.
func TestTheEndOfASessionWaitsForItsReader(t *testing.T) {
	t.Parallel()
	if os.Getenv("HUSK_TEST_ALONE") == "" { // yamux pools timers, and timers of a synctest bubble must not be used outside of it
		alone := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		alone.Env = append(os.Environ(), "HUSK_TEST_ALONE=1")
		if out, err := alone.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, serveFake(t, newFakeHandler()).connect(""))
		conn, err := c.Exec(t.Context(), Exec{Container: "a", Args: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(conn.Send(session.Stdin, []byte("slow")), conn.Send(session.EOF, nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * streamTimeout)
		for _, want := range []session.Kind{session.Stdout, session.Exit} {
			if f, err := conn.Receive(); err != nil || f.Kind != want {
				t.Errorf("received %d %q, %v; want %d", f.Kind, f.Payload, err, want)
			}
		}
		conn.Close()
	})
}
