// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"husk/guest"
	"husk/session"
)

// client is the host's end of an attach session; it receives nothing and sends nothing.
type client struct {
	sent chan session.Frame
	gone chan struct{}
}

func newClient() *client {
	return &client{sent: make(chan session.Frame, 100), gone: make(chan struct{})}
}

func (c *client) Receive() (session.Frame, error) {
	<-c.gone
	return session.Frame{}, context.Canceled
}

func (c *client) Send(kind session.Kind, payload []byte) error {
	c.sent <- session.Frame{Kind: kind, Payload: payload}
	return nil
}

func (c *client) Close() error { return nil }

func TestAContainerStartsWhenAClientAttaches(t *testing.T) {
	for _, attaches := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{}}}, "a")
			spec.Containers[0].StartOnAttach = true
			mustStart(t, p, spec)
			if s := now(p).Containers[0]; s.State != guest.StateWaiting || s.Reason != guest.ReasonNoClient {
				t.Errorf("before: %+v", s)
			}
			c := newClient()
			begin := time.Now()
			done := make(chan error, 1)
			if attaches {
				go func() {
					done <- p.Attach(t.Context(), guest.Attach{Container: "a"}, func() (session.Conn, error) { return c, nil })
				}()
			} else {
				time.Sleep(clientWait)
				done <- nil
			}
			if s := now(p).Containers[0]; s.State != guest.StateRunning || attaches && time.Since(begin) > 0 {
				t.Errorf("after %s: %+v", time.Since(begin), s)
			}
			close(c.gone)
			<-done
			end(p, m)
		})
	}
}

func TestAStoppedGuestWaitsUntilItsLastOutputWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartAlways, map[string][]fakeRun{"a": {{ends: exit{code: 7}}}}, "a")
		mustStart(t, p, spec)
		c := newClient()
		attached := make(chan error, 1)
		go func() {
			attached <- p.Attach(t.Context(), guest.Attach{Container: "a"}, func() (session.Conn, error) { return c, nil })
		}()
		const slow = 2 * time.Second
		var last time.Time
		read := make(chan error, 1)
		go func() {
			read <- p.Logs(t.Context(), "a", 0, true, func([]guest.LogEntry) error {
				time.Sleep(slow)
				last = time.Now()
				return nil
			})
		}()
		synctest.Wait()
		p.stdio["a"].log.Add(guest.LogEntry{Stream: guest.Stdout, Bytes: []byte("bye\n")}, nil)
		p.Stop(time.Minute)
		s := now(p)
		for !s.Stopped {
			s = p.WaitStatus(t.Context(), s.Revision)
		}
		if last.IsZero() {
			t.Error("the guest has stopped before the agent had read the log")
		}
		<-read
		<-attached
		f := <-c.sent
		if status, err := session.ParseStatus(f.Payload); f.Kind != session.Exit || err != nil || status.Code != 7 {
			t.Errorf("the client got %+v (%v), want the exit code", f, err)
		}
		close(c.gone)
		<-m.off
	})
}
