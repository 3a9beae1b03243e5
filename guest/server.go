// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"husk/signals"
)

// Port is the guest's end of the virtio-serial port. Read returns io.EOF if no host is connected;
// after WaitHost it may succeed again.
type Port interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
	// WaitHost blocks until a host is connected (nil) or the port is closed.
	WaitHost() error
}

// Handler serves the host's calls. Errors other than *CallError are reported as CodeInternal.
type Handler interface {
	Hello() Hello
	Start(Spec) (Status, error)
	// WaitStatus returns when the revision is above after, or ctx ends.
	WaitStatus(ctx context.Context, after uint64) Status
	// Delivered says that the host has read the status of this revision.
	Delivered(revision uint64)
	// Logs calls emit with batches until it has caught up or, with follow, until no further can come
	// or ctx ends.
	Logs(ctx context.Context, container string, after uint64, follow bool, emit func([]LogEntry) error) error
	Stop(grace time.Duration) error
	Stats() Stats
	// Signal sends a signal to a running container.
	Signal(container string, signal int) error
	// AdjustClock adds a duration to the clock, if it was corrected this many times before.
	AdjustClock(by time.Duration, sets uint64) error
	// Resize uses so many CPUs, which the machine has or gets at once, and from now on memory that the machine gets.
	Resize(ctx context.Context, cpus int) error
	// Grow makes the file system of a volume, by the serial of its disk, as large as the disk, once that has this size in bytes.
	Grow(ctx context.Context, serial string, size int64) error
	// Freeze writes a volume back, by the serial of its disk, and lets programs that write to it wait until Thaw, or for FreezeLimit.
	Freeze(serial string) error
	// Thaw ends what Freeze has begun. It fails if that has ended by itself.
	Thaw(serial string) error
	// Update replaces values of the pod that was started.
	Update(ctx context.Context, v Values) error

	// The streams. Each calls accept once it is sure that the request can be served. An error before
	// that is the response to the call; a later one ends the stream. A stream ends when the host
	// closes it; Receive then returns an error.
	Exec(ctx context.Context, e Exec, accept Accept) error
	Attach(ctx context.Context, a Attach, accept Accept) error
	Forward(ctx context.Context, port int, accept Accept) error
	CopyOut(ctx context.Context, what Copy, accept Accept) error
	CopyIn(ctx context.Context, where Copy, accept Accept) error
}

// Serve serves one host after the other until the port fails or ctx ends. A host that connects
// while another session is open takes over.
func Serve(ctx context.Context, port Port, h Handler) error {
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	s := &server{port: port, handler: h}
	defer s.drop()
	find := matcher{magic: hostMagic}
	buf := make([]byte, 32<<10)
	for {
		n, err := port.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			took, seen := find.feed(rest)
			// The session also sees the beginning of a preamble. It is about to be dropped, so that
			// does not matter. Holding back bytes that might become a preamble would delay other
			// data.
			s.forward(rest[:took])
			rest = rest[took:]
			if seen != nil {
				if err := s.restart(ctx, seen.nonce); err != nil {
					return fmt.Errorf("channel: %w", err)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			s.drop()
			find = matcher{magic: hostMagic}
			err = port.WaitHost()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("channel: %w", err)
		}
	}
}

// server holds the current session. Only Serve's goroutine uses it.
type server struct {
	port    Port
	handler Handler

	in     *io.PipeWriter // to the session; nil without one
	finish func()
}

func (s *server) forward(p []byte) {
	if s.in != nil {
		// Fails only if the session has ended by itself: its host will send a preamble.
		s.in.Write(p)
	}
}

func (s *server) drop() {
	if s.in == nil {
		return
	}
	s.in.Close()
	s.finish()
	s.in, s.finish = nil, nil
}

// finishTime is how long the calls of an earlier session may take to end.
const finishTime = time.Second

func (s *server) restart(ctx context.Context, nonce string) error {
	s.drop()
	s.port.SetWriteDeadline(time.Time{})
	if _, err := s.port.Write(preamble(guestMagic, nonce)); err != nil {
		return err
	}
	out, in := io.Pipe()
	session, err := yamux.Server(&guestConn{port: s.port, in: out}, yamuxConfig(false))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveSession(ctx, session, s.handler)
	}()
	s.in = in
	s.finish = func() {
		cancel()
		session.Close()
		select {
		case <-done:
		case <-time.After(finishTime): // a call that hangs must not keep the next host away
		}
	}
	return nil
}

// guestConn is one session's view of the port: closing it leaves the port open.
type guestConn struct {
	port Port
	in   *io.PipeReader
}

func (c *guestConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *guestConn) Write(p []byte) (int, error) { return c.port.Write(p) }

func (c *guestConn) Close() error {
	c.in.Close()
	// Unblocks a Write that waits for a host that does not read.
	return c.port.SetWriteDeadline(time.Unix(1, 0))
}

func serveSession(ctx context.Context, session *yamux.Session, h Handler) {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return
		}
		calls.Go(func() {
			defer stream.Close()
			serveCall(ctx, stream, h)
		})
	}
}

func serveCall(ctx context.Context, stream *yamux.Stream, h Handler) {
	stream.SetDeadline(time.Now().Add(callTimeout))
	body, err := readFrame(stream, MaxFrame)
	if err != nil {
		return
	}
	answer := func(r reply, err error) error {
		r.Version = ProtocolVersion
		if err != nil {
			r = reply{Version: ProtocolVersion, Error: asCallError(err)}
		}
		stream.SetWriteDeadline(time.Now().Add(callTimeout))
		return writeFrame(stream, r, maxReply)
	}
	req, err := decodeRequest(body)
	if err != nil {
		answer(reply{}, err)
		return
	}
	switch req.Call {
	case callHello:
		hello := h.Hello()
		answer(reply{Hello: &hello}, nil)
	case callStart:
		status, err := startChecked(h, req.Spec)
		answer(reply{Status: &status}, err)
	case callStatus:
		wait := min(time.Duration(req.MaxWaitMillis)*time.Millisecond, MaxWait)
		ctx, cancel := context.WithTimeout(ctx, wait)
		status := h.WaitStatus(ctx, req.AfterRevision)
		cancel()
		if answer(reply{Status: &status}, nil) == nil && hostHasRead(stream) {
			h.Delivered(status.Revision)
		}
	case callLogs:
		err := serveLogs(ctx, req, h, answer)
		answer(reply{End: true}, err)
	case callStop:
		answer(reply{}, h.Stop(time.Duration(req.GraceMillis)*time.Millisecond))
	case callStats:
		stats := h.Stats()
		answer(reply{Stats: &stats}, nil)
	case callSignal:
		if req.Signal < 1 || req.Signal > signals.Max {
			answer(reply{}, errorf(CodeInvalid, "signal %d: want 1 to %d", req.Signal, signals.Max))
			return
		}
		answer(reply{}, h.Signal(req.Container, req.Signal))
	case callClock:
		answer(reply{}, h.AdjustClock(time.Duration(req.ClockNanos), req.ClockSets))
	case callGrow:
		answer(reply{}, h.Grow(ctx, req.Serial, req.SizeBytes))
	case callResize:
		if req.CPUs < 1 || req.CPUs > maxCPUs {
			answer(reply{}, errorf(CodeInvalid, "%d CPUs: want 1 to %d", req.CPUs, maxCPUs))
			return
		}
		answer(reply{}, h.Resize(ctx, req.CPUs))
	case callFreeze:
		answer(reply{}, h.Freeze(req.Serial))
	case callThaw:
		answer(reply{}, h.Thaw(req.Serial))
	case callUpdate:
		if req.Values == nil {
			answer(reply{}, errorf(CodeInvalid, "update: no values"))
			return
		}
		answer(reply{}, h.Update(ctx, *req.Values))
	case callExec, callAttach, callForward, callCopyOut, callCopyIn:
		serveInteractive(ctx, stream, req, h, answer)
	default:
		answer(reply{}, errorf(CodeInvalid, "call %q: unknown", clip(req.Call, maxName)))
	}
}

func startChecked(h Handler, spec *Spec) (Status, error) {
	if spec == nil {
		return Status{}, errorf(CodeInvalid, "start: no spec")
	}
	if err := spec.Validate(); err != nil {
		return Status{}, errorf(CodeInvalid, "%v", err)
	}
	return h.Start(*spec)
}

// hostHasRead waits for the host to close its side, which it does once it has the response.
func hostHasRead(stream *yamux.Stream) bool {
	stream.SetReadDeadline(time.Now().Add(callTimeout))
	var one [1]byte
	_, err := stream.Read(one[:])
	return errors.Is(err, io.EOF)
}

// serveLogs sends entries in frames below the limit, and an empty frame as a keepalive if there are
// none for a while.
func serveLogs(ctx context.Context, req request, h Handler, answer func(reply, error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // one frame at a time
	send := func(entries []LogEntry) error {
		mu.Lock()
		defer mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := answer(reply{Entries: entries}, nil); err != nil {
			cancel() // the host has gone
			return err
		}
		return nil
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	if req.Follow {
		beats.Go(func() {
			tick := time.NewTicker(logHeartbeat)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					send(nil)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return h.Logs(ctx, req.Container, req.AfterSeq, req.Follow, func(entries []LogEntry) error {
		for len(entries) > 0 {
			n := batch(entries)
			if err := send(entries[:n]); err != nil {
				return err
			}
			entries = entries[n:]
		}
		return nil
	})
}

// logEntryCost is roughly the size of an entry's fields without its output, in bytes.
const logEntryCost = 160

// batch returns how many of the entries fit into one frame.
func batch(entries []LogEntry) int {
	size := 0
	for i, e := range entries {
		size += len(e.Bytes) + logEntryCost
		if i > 0 && size > maxLogBatch {
			return i
		}
	}
	return len(entries)
}

func asCallError(err error) *CallError {
	if e, ok := errors.AsType[*CallError](err); ok {
		return e
	}
	return errorf(CodeInternal, "%v", err)
}
