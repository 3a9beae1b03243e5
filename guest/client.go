// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Deadlines of the host. A guest under emulation on a busy node may need seconds to be scheduled at
// all. A guest that needs longer counts as gone.
const (
	echoInterval  = time.Second // between preambles until the guest responds
	callTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second // also the limit for a ping
	keepAlive     = 15 * time.Second
	streamTimeout = 30 * time.Second // to accept or to close a stream
	// While a guest follows logs, it sends an empty frame at this interval if there are no entries.
	logHeartbeat = 10 * time.Second
	logSilence   = 4 * logHeartbeat
	// MaxWait limits one long poll for status.
	MaxWait = time.Minute
	// maxCalls limits concurrent calls per guest.
	maxCalls = 64
)

// Client is the host's end of the channel. Its methods may be called concurrently. It does not
// reconnect: when Done is closed, call Dial again.
type Client struct {
	session  *yamux.Session
	slots    chan struct{}
	sessions chan struct{}
}

// Dial performs the handshake over an open connection to the guest's channel. It owns the
// connection from then on, also if it fails. It waits for the guest to come up until ctx ends.
func Dial(ctx context.Context, conn net.Conn) (*Client, error) {
	stream, err := shakeHands(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("guest handshake: %w", err)
	}
	session, err := yamux.Client(stream, yamuxConfig(true))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("guest session: %w", err)
	}
	return &Client{session: session, slots: make(chan struct{}, maxCalls), sessions: make(chan struct{}, MaxSessions)}, nil
}

func yamuxConfig(host bool) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          2 * maxCalls,
		EnableKeepAlive:        host,
		KeepAliveInterval:      keepAlive,
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    maxYamuxFrame,
		StreamOpenTimeout:      streamTimeout,
		StreamCloseTimeout:     streamTimeout,
		LogOutput:              io.Discard, // every error also ends a call or the session
	}
}

// hostConn is the connection as yamux sees it: after the handshake, with guarded inbound bytes.
type hostConn struct {
	net.Conn
	in io.Reader
}

func (c *hostConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func shakeHands(ctx context.Context, conn net.Conn) (*hostConn, error) {
	// A finished ctx interrupts the current read or write.
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		conn.SetDeadline(time.Unix(1, 0))
	})
	stream, err := sendPreambles(ctx, conn)
	if !stop() {
		<-interrupted
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return stream, conn.SetDeadline(time.Time{})
}

func sendPreambles(ctx context.Context, conn net.Conn) (*hostConn, error) {
	nonce := newNonce()
	in := &throttle{r: conn}
	find := matcher{magic: guestMagic}
	buf := make([]byte, 32<<10)
	var resend time.Time
	for ctx.Err() == nil {
		if !time.Now().Before(resend) {
			conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := conn.Write(preamble(hostMagic, nonce)); err != nil {
				return nil, err
			}
			resend = time.Now().Add(echoInterval)
		}
		conn.SetReadDeadline(resend)
		n, err := in.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			took, seen := find.feed(rest)
			rest = rest[took:]
			if seen == nil || seen.nonce != nonce {
				continue
			}
			if seen.version != ProtocolVersion {
				return nil, fmt.Errorf("guest speaks protocol version %d, want %d", seen.version, ProtocolVersion)
			}
			in.r = &echoStripper{
				r:    io.MultiReader(bytes.NewReader(bytes.Clone(rest)), conn),
				echo: preamble(guestMagic, nonce),
			}
			return &hostConn{Conn: conn, in: &guard{t: in}}, nil
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// echoStripper removes further echoes from the beginning of a session: a slow guest responds to
// every preamble that was sent.
type echoStripper struct {
	r    io.Reader
	echo []byte
	done bool
}

func (s *echoStripper) Read(p []byte) (int, error) {
	for !s.done {
		if len(p) == 0 {
			return 0, nil
		}
		if _, err := io.ReadFull(s.r, p[:1]); err != nil {
			return 0, err
		}
		if p[0] != s.echo[0] { // yamux frames begin with a zero
			s.done = true
			return 1, nil
		}
		rest := make([]byte, len(s.echo)-1)
		if _, err := io.ReadFull(s.r, rest); err != nil {
			return 0, err
		}
		if !bytes.Equal(rest, s.echo[1:]) {
			return 0, errors.New("invalid data at the start of the session")
		}
	}
	return s.r.Read(p)
}

// Close ends the session and all its calls. The guest and its pod continue.
func (c *Client) Close() error { return c.session.Close() }

// Done is closed when the session has ended, for any reason.
func (c *Client) Done() <-chan struct{} { return c.session.CloseChan() }

// Hello asks the guest to identify itself.
func (c *Client) Hello(ctx context.Context) (Hello, error) {
	r, err := c.call(ctx, request{Call: callHello}, callTimeout)
	if err != nil {
		return Hello{}, err
	}
	if r.Hello == nil {
		return Hello{}, errors.New("guest hello: empty response")
	}
	return *r.Hello, nil
}

// frameMargin is what a frame has in addition to a spec, and for escapes.
const frameMargin = 1 << 10

// Start sends the pod's spec to the guest. If the same spec was sent before, Start succeeds and
// starts nothing. Another spec is refused with CodeConflict. Start does not wait for containers.
func (c *Client) Start(ctx context.Context, spec Spec) (Status, error) {
	if err := spec.Validate(); err != nil {
		return Status{}, errorf(CodeInvalid, "%v", err)
	}
	if raw, err := spec.Canonical(); err != nil || len(raw) > MaxFrame-frameMargin {
		return Status{}, errorf(CodeInvalid, "pod spec: %d bytes with arguments, environments and files; the limit is %d", len(raw), MaxFrame-frameMargin)
	}
	r, err := c.call(ctx, request{Call: callStart, Spec: &spec}, callTimeout)
	return r.status(callStart, err)
}

// WaitStatus returns the status as soon as its revision is above afterRevision, or unchanged after
// maxWait (at most MaxWait).
func (c *Client) WaitStatus(ctx context.Context, afterRevision uint64, maxWait time.Duration) (Status, error) {
	maxWait = min(maxWait, MaxWait)
	req := request{Call: callStatus, AfterRevision: afterRevision, MaxWaitMillis: millis(maxWait)}
	r, err := c.call(ctx, req, maxWait+callTimeout)
	return r.status(callStatus, err)
}

// Stop tells the guest to end its containers, unmount and power off. It returns when the guest has
// begun. WaitStatus returns the exit codes until Status.Stopped, then the machine powers off.
// Another call is accepted and can only shorten the grace period.
func (c *Client) Stop(ctx context.Context, grace time.Duration) error {
	_, err := c.call(ctx, request{Call: callStop, GraceMillis: millis(grace)}, callTimeout)
	return err
}

// Update replaces the files in memory and the environments of a pod that was started. It is safe to
// repeat.
func (c *Client) Update(ctx context.Context, values Values) error {
	_, err := c.call(ctx, request{Call: callUpdate, Values: &values}, callTimeout)
	return err
}

// Signal sends a signal to a container that runs.
func (c *Client) Signal(ctx context.Context, container string, signal int) error {
	_, err := c.call(ctx, request{Call: callSignal, Container: container, Signal: signal}, callTimeout)
	return err
}

// AdjustClock adds a duration to the guest's clock, unless the clock was corrected since these statistics. So several calls, and one whose
// answer was lost, correct it once.
func (c *Client) AdjustClock(ctx context.Context, by time.Duration, seen Stats) error {
	_, err := c.call(ctx, request{Call: callClock, ClockNanos: by.Nanoseconds(), ClockSets: seen.ClockSets}, callTimeout)
	return err
}

// Grow makes the file system of a volume, by the serial of its disk, as large as the disk, once the guest sees the disk with this size. A guest
// of an earlier version refuses it with CodeInvalid.
func (c *Client) Grow(ctx context.Context, serial string, size int64) error {
	_, err := c.call(ctx, request{Call: callGrow, Serial: serial, SizeBytes: size}, callTimeout)
	return err
}

// Resize makes the guest use so many CPUs, once the machine has them, and memory that the machine gets. A guest of an earlier version refuses it with
// CodeInvalid.
func (c *Client) Resize(ctx context.Context, cpus int) error {
	_, err := c.call(ctx, request{Call: callResize, CPUs: cpus}, callTimeout)
	return err
}

// Freeze lets programs that write to a volume, named by the serial of its disk, wait until Thaw, or for FreezeLimit. The disk then has all that was
// written before. A guest of an earlier version refuses it with CodeInvalid.
func (c *Client) Freeze(ctx context.Context, serial string) error {
	_, err := c.call(ctx, request{Call: callFreeze, Serial: serial}, callTimeout)
	return err
}

// Thaw ends what Freeze has begun. It fails with CodeConflict if the guest has done so by itself.
func (c *Client) Thaw(ctx context.Context, serial string) error {
	_, err := c.call(ctx, request{Call: callThaw, Serial: serial}, callTimeout)
	return err
}

// Stats returns the current usage of the pod.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	r, err := c.call(ctx, request{Call: callStats}, callTimeout)
	if err != nil {
		return Stats{}, err
	}
	if r.Stats == nil {
		return Stats{}, errors.New("guest stats: empty response")
	}
	return *r.Stats, nil
}

func (r reply) status(call string, err error) (Status, error) {
	if err != nil {
		return Status{}, err
	}
	if r.Status == nil {
		return Status{}, fmt.Errorf("guest %s: empty response", call)
	}
	return *r.Status, nil
}

// Logs calls fn with the entries of a container after afterSeq, in order. With follow, it continues
// until the container has ended for good or ctx ends. Without follow, it returns when it has caught
// up. If fn returns an error, Logs returns that error at once.
func (c *Client) Logs(ctx context.Context, container string, afterSeq uint64, follow bool, fn func(LogEntry) error) error {
	stream, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	req := request{Version: ProtocolVersion, Call: callLogs, Container: container, AfterSeq: afterSeq, Follow: follow}
	if err := c.send(ctx, stream, req); err != nil {
		return err
	}
	for {
		r, err := c.receive(ctx, stream, logSilence)
		if err != nil {
			return err
		}
		for _, e := range r.Entries {
			if err := e.settle(afterSeq); err != nil {
				return fmt.Errorf("guest logs of %s: %w", container, err)
			}
			afterSeq = e.Seq
			if err := fn(e); err != nil {
				return err
			}
		}
		if r.End {
			return nil
		}
	}
}

// call sends one request on its own stream and reads one response.
func (c *Client) call(ctx context.Context, req request, timeout time.Duration) (reply, error) {
	stream, done, err := c.open(ctx)
	if err != nil {
		return reply{}, err
	}
	defer done()
	req.Version = ProtocolVersion
	if err := c.send(ctx, stream, req); err != nil {
		return reply{}, err
	}
	return c.receive(ctx, stream, timeout)
}

func (c *Client) open(ctx context.Context) (*yamux.Stream, func(), error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-c.Done():
		return nil, nil, fmt.Errorf("guest: %w", yamux.ErrSessionShutdown)
	}
	// Blocks for at most streamTimeout, after which yamux ends the session.
	stream, err := c.session.OpenStream()
	if err != nil {
		<-c.slots
		return nil, nil, fmt.Errorf("guest: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	var once sync.Once
	return stream, func() {
		once.Do(func() {
			stop()
			stream.Close()
			<-c.slots
		})
	}, nil
}

func (c *Client) send(ctx context.Context, stream *yamux.Stream, req request) error {
	stream.SetWriteDeadline(time.Now().Add(writeTimeout))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := writeFrame(stream, req, MaxFrame); err != nil {
		return c.failed(ctx, req.Call, err)
	}
	return nil
}

func (c *Client) receive(ctx context.Context, stream *yamux.Stream, timeout time.Duration) (reply, error) {
	stream.SetReadDeadline(time.Now().Add(timeout))
	if ctx.Err() != nil {
		return reply{}, ctx.Err()
	}
	body, err := readFrame(stream, maxReply)
	if err != nil {
		return reply{}, c.failed(ctx, "reply", err)
	}
	r, err := decodeReply(body)
	if err != nil {
		return reply{}, c.failed(ctx, "reply", err)
	}
	if r.Error != nil {
		return reply{}, r.Error
	}
	return r, nil
}

func (c *Client) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("guest %s: %w", what, err)
}
