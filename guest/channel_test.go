// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk/session"
)

// fakeHandler responds like a guest with one container named "a".
type fakeHandler struct {
	mu        sync.Mutex
	status    Status
	clock     time.Duration
	changed   chan struct{}
	entries   []LogEntry
	stopped   time.Duration
	delivered []uint64
}

func newFakeHandler() *fakeHandler {
	return &fakeHandler{status: Status{Revision: 1, BootID: "boot", Phase: PhaseWaiting}, changed: make(chan struct{})}
}

func (h *fakeHandler) Hello() Hello { return Hello{Protocol: ProtocolVersion, BootID: "boot"} }

func (h *fakeHandler) Start(Spec) (Status, error) {
	h.set(PhaseRunning)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status, nil
}

func (h *fakeHandler) set(phase string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Phase = phase
	h.status.Revision++
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *fakeHandler) WaitStatus(ctx context.Context, after uint64) Status {
	for {
		h.mu.Lock()
		s, changed := h.status, h.changed
		h.mu.Unlock()
		if s.Revision > after {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s
		}
	}
}

func (h *fakeHandler) Delivered(revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.delivered = append(h.delivered, revision)
}

func (h *fakeHandler) Logs(ctx context.Context, container string, _ uint64, follow bool, emit func([]LogEntry) error) error {
	if container != "a" {
		return errorf(CodeNotFound, "no container %q", container)
	}
	if err := emit(h.entries); err != nil || !follow {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *fakeHandler) Stop(grace time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = grace
	return nil
}

func (h *fakeHandler) Signal(container string, _ int) error {
	if container != "a" {
		return &CallError{Code: CodeNotFound, Message: "no such container"}
	}
	return nil
}

func (h *fakeHandler) Freeze(string) error { return nil }

func (h *fakeHandler) Thaw(string) error { return nil }

func (h *fakeHandler) Update(_ context.Context, v Values) error {
	if len(v.Files["config"]) != 1 {
		return &CallError{Code: CodeInvalid, Message: "no files"}
	}
	return nil
}

func (h *fakeHandler) AdjustClock(by time.Duration, _ uint64) error {
	h.clock = by
	return nil
}

func (h *fakeHandler) Resize(context.Context, int) error { return nil }

func (h *fakeHandler) Grow(_ context.Context, serial string, size int64) error {
	if serial != "vol1" || size != 2<<30 {
		return errorf(CodeNotFound, "no volume %q", serial)
	}
	return nil
}

func (h *fakeHandler) Stats() Stats {
	return Stats{BootID: "boot", Pod: PodStats{CPUs: 2}, Containers: []ContainerStats{{Name: "a", CPUMicros: 7}}, Disks: []DiskStats{{Serial: "s"}}}
}

// Exec sends back what it gets, and ends with the code 7.
func (h *fakeHandler) Exec(_ context.Context, e Exec, accept Accept) error {
	if e.Container != "a" {
		return errorf(CodeNotFound, "no container %q", e.Container)
	}
	conn, err := accept()
	if err != nil {
		return err
	}
	for {
		f, err := conn.Receive()
		switch {
		case err != nil:
			return err
		case f.Kind == session.EOF:
			return session.SendExit(conn, session.Status{Code: 7})
		case f.Kind == session.Signal:
			return errorf(CodeFailed, "signalled with %s", f.Payload)
		}
		if err := conn.Send(session.Stdout, f.Payload); err != nil {
			return err
		}
	}
}

func (h *fakeHandler) Attach(context.Context, Attach, Accept) error {
	return errorf(CodeNotRunning, "it does not run")
}

func (h *fakeHandler) Forward(context.Context, int, Accept) error {
	return errorf(CodeRefused, "nothing listens")
}

func (h *fakeHandler) CopyOut(context.Context, Copy, Accept) error {
	return errorf(CodeNoFile, "no file")
}

func (h *fakeHandler) CopyIn(context.Context, Copy, Accept) error {
	return errorf(CodeFailed, "no room")
}

// fakePort is a virtio-serial port to which hosts connect one after the other. As with a real port,
// a host may receive bytes that were sent to the previous one.
type fakePort struct {
	mu     sync.Mutex
	cond   *sync.Cond
	conn   net.Conn  // nil: no host
	stale  []byte    // the next host receives these first
	writes time.Time // the deadline of the port, not of one host
	closed bool
}

func newFakePort() *fakePort {
	p := &fakePort{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// connect connects a new host to the port. The host first receives the stale bytes.
func (p *fakePort) connect(stale string) net.Conn {
	host, guest := net.Pipe()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil { // there is only one host at a time
		p.conn.Close()
	}
	p.conn, p.stale = guest, []byte(stale)
	guest.SetWriteDeadline(p.writes)
	p.cond.Broadcast()
	return host
}

func (p *fakePort) current() (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if p.conn == nil {
		return nil, io.EOF
	}
	return p.conn, nil
}

func (p *fakePort) Read(b []byte) (int, error) {
	conn, err := p.current()
	if err != nil {
		return 0, err
	}
	n, err := conn.Read(b)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.conn == conn {
			p.conn = nil
		}
		err = io.EOF
	}
	return n, err
}

func (p *fakePort) Write(b []byte) (int, error) {
	conn, err := p.current()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	stale := p.stale
	p.stale = nil
	p.mu.Unlock()
	if len(stale) > 0 {
		conn.Write(stale)
	}
	n, err := conn.Write(b)
	if err != nil && strings.Contains(err.Error(), "closed") {
		return len(b), nil // lost; the guest is not notified
	}
	return n, err
}

func (p *fakePort) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = t
	if p.conn == nil {
		return nil
	}
	return p.conn.SetWriteDeadline(t)
}

func (p *fakePort) WaitHost() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.conn == nil && !p.closed {
		p.cond.Wait()
	}
	if p.closed {
		return net.ErrClosed
	}
	return nil
}

func (p *fakePort) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.conn != nil {
		p.conn.Close()
	}
	p.cond.Broadcast()
	return nil
}

// serveFake serves h until the test ends.
func serveFake(t *testing.T, h Handler) *fakePort {
	t.Helper()
	port := newFakePort()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Serve(ctx, port, h)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return port
}

func dialFake(t *testing.T, conn net.Conn) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func validSpec() Spec {
	return Spec{
		PodID: "p", Hostname: "p", RestartPolicy: RestartNever,
		Containers: []Container{{Name: "a", ImageSerial: "image", Args: []string{"true"}}},
	}
}

func TestCallsReachTheGuest(t *testing.T) {
	t.Parallel()
	h := newFakeHandler()
	h.entries = []LogEntry{{Seq: 8, Stream: Stdout, Bytes: []byte("hello\n")}, {Seq: 10, Stream: Stderr, Bytes: []byte("\x00\xff")}}
	c := dialFake(t, serveFake(t, h).connect(""))
	ctx := t.Context()

	if hello, err := c.Hello(ctx); err != nil || hello.BootID != "boot" {
		t.Errorf("hello: %+v, %v", hello, err)
	}
	s, err := c.Start(ctx, validSpec())
	if err != nil || s.Phase != PhaseRunning {
		t.Errorf("start: %+v, %v", s, err)
	}
	time.AfterFunc(10*time.Millisecond, func() { h.set(PhaseSucceeded) })
	if s, err = c.WaitStatus(ctx, s.Revision, 20*time.Second); err != nil || s.Phase != PhaseSucceeded {
		t.Errorf("status: %+v, %v", s, err)
	}
	if again, err := c.WaitStatus(ctx, s.Revision, time.Millisecond); err != nil || again.Revision != s.Revision {
		t.Errorf("status without a change: %+v, %v", again, err)
	}
	var got []LogEntry
	if err := c.Logs(ctx, "a", 2, false, func(e LogEntry) error { got = append(got, e); return nil }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(h.entries, got); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	var refused *CallError
	if err := c.Logs(ctx, "b", 0, false, nil); !errors.As(err, &refused) || refused.Code != CodeNotFound {
		t.Errorf("logs of an unknown container: %v", err)
	}
	if err := c.Stop(ctx, 7*time.Second); err != nil || h.stopped != 7*time.Second {
		t.Errorf("stop: %v, grace %v", err, h.stopped)
	}
}

func TestACancelledContextEndsACall(t *testing.T) {
	t.Parallel()
	h := newFakeHandler()
	h.entries = []LogEntry{{Seq: 1, Stream: Stdout}}
	c := dialFake(t, serveFake(t, h).connect(""))
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Logs(ctx, "a", 0, true, func(LogEntry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("logs: %v; want cancelled", err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Errorf("hello afterwards: %v", err)
	}
}

func TestHostsConnectOneAfterAnother(t *testing.T) {
	t.Parallel()
	h := newFakeHandler()
	port := serveFake(t, h)
	for i, stale := range []string{
		"",
		"garbage from the previous session",
		"\xfehusk-guest\x00\x01" + strings.Repeat("0", nonceLen), // an echo for another host
		"\xfehusk-guest\x00\x01abc",                              // half an echo
		"\xfe\xfe\xfe",
	} {
		c := dialFake(t, port.connect(stale))
		if _, err := c.Hello(t.Context()); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
		if i%2 == 0 {
			c.Close()
		}
	}
}

// A new host can connect in the middle of another host's frame. The guest does not see that the
// connection was closed.
func TestANewHostInterruptsAnOldSession(t *testing.T) {
	t.Parallel()
	port := serveFake(t, newFakeHandler())
	for _, cut := range []int{0, 1, 5, 11, 12, 13, 15, 16, 40} {
		conn := port.connect("")
		old := &cutConn{Conn: conn}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, err := Dial(ctx, old)
		if err != nil {
			t.Fatal(err)
		}
		old.cutAfter(cut)
		go c.Hello(ctx) // blocks
		old.wait()
		// From here on the old session receives nothing, because the next host uses the same wire.
		old.detach()
		c.Close()
		next := dialFake(t, conn)
		if _, err := next.Hello(ctx); err != nil {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
		cancel()
		next.Close()
	}
}

// cutConn stops sending after some bytes, and stops receiving on demand.
type cutConn struct {
	net.Conn
	mu       sync.Mutex
	limited  bool
	left     int
	reached  chan struct{}
	detached bool
}

func (c *cutConn) cutAfter(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limited, c.left, c.reached = true, n, make(chan struct{})
	if n == 0 {
		close(c.reached)
	}
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.limited {
		return c.Conn.Write(p)
	}
	if c.left > 0 {
		n := min(c.left, len(p))
		c.Conn.Write(p[:n])
		if c.left -= n; c.left == 0 {
			close(c.reached)
		}
	}
	return len(p), nil
}

func (c *cutConn) wait() { <-c.reached }

// detach lets the session's reader end without closing the wire.
func (c *cutConn) detach() {
	c.mu.Lock()
	c.detached = true
	c.mu.Unlock()
	c.SetReadDeadline(time.Unix(1, 0))
}

func (c *cutConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detached {
		return nil
	}
	return c.Conn.Close()
}

func TestDialWaitsForTheGuestToBoot(t *testing.T) {
	t.Parallel()
	host, guestEnd := net.Pipe()
	port := newFakePort()
	port.conn = guestEnd
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	time.AfterFunc(1200*time.Millisecond, func() { // after the first preamble's time
		defer close(done)
		Serve(ctx, port, newFakeHandler())
	})
	c := dialFake(t, host)
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	<-done
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	host, guestEnd := net.Pipe()
	go io.Copy(io.Discard, guestEnd)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want the context's error", err)
	}
	if _, err := guestEnd.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
}

func TestDialRefusesAnotherProtocol(t *testing.T) {
	t.Parallel()
	host, guestEnd := net.Pipe()
	go answerHandshake(guestEnd, ProtocolVersion+1)
	if _, err := Dial(t.Context(), host); err == nil || !strings.Contains(err.Error(), "protocol version 2") {
		t.Errorf("got %v; want a refusal of version 2", err)
	}
}

// answerHandshake responds to the first preamble as a guest with this protocol version does.
func answerHandshake(conn net.Conn, version byte) {
	find := matcher{magic: hostMagic}
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, seen := find.feed(buf[:n]); seen != nil {
			echo := preamble(guestMagic, seen.nonce)
			echo[len(guestMagic)] = version
			conn.Write(echo)
			return
		}
	}
}

func TestMatcherFindsPreamblesInAnyChunks(t *testing.T) {
	t.Parallel()
	nonce := newNonce()
	stream := append([]byte("noise\xff\xffhusk-host\x00\x01nothex\xffhusk"), preamble(hostMagic, nonce)...)
	for cut := range stream {
		m := matcher{magic: hostMagic}
		var seen *preambleSeen
		for _, part := range [][]byte{stream[:cut], stream[cut:]} {
			for len(part) > 0 {
				n, s := m.feed(part)
				part = part[n:]
				if s != nil {
					seen = s
				}
			}
		}
		if seen == nil || seen.nonce != nonce || seen.version != ProtocolVersion {
			t.Errorf("cut at %d: found %+v", cut, seen)
		}
	}
}

func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeFrame(&b, strings.Repeat("x", 100), 50); err == nil {
		t.Error("a frame beyond the limit was written")
	}
	for _, head := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x04\x00\x01"} {
		if _, err := readFrame(strings.NewReader(head+"body"), maxReply); err == nil {
			t.Errorf("length %q was accepted", head)
		}
	}
	if _, err := readFrame(strings.NewReader("\x00\x00\x00\x05body"), maxReply); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short body: %v", err)
	}
}
