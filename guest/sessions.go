package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"husk/session"
)

// MaxSessions bounds the sessions that are open in a guest at the same time.
// Each costs the guest a command, and the host two goroutines and at most the
// channel's receive window.
const MaxSessions = 32

// Limits of what a session may be asked for.
const (
	maxArgs     = 1024
	maxArgBytes = 128 << 10
)

// Exec is a command to be run beside a container's own, as the same user, in
// the same namespaces and with the same rights.
type Exec struct {
	Container string       `json:"container"`
	Args      []string     `json:"args"`
	Env       []string     `json:"env,omitempty"` // beside the container's own
	TTY       bool         `json:"tty,omitempty"`
	Stdin     bool         `json:"stdin,omitempty"`
	Size      session.Size `json:"size,omitzero"` // of the terminal
	User      string       `json:"user,omitempty"`
	// WorkingDir is the container's own when empty.
	WorkingDir string `json:"workingDir,omitempty"`
}

// Attach joins a container's own process.
type Attach struct {
	Container string       `json:"container"`
	Stdin     bool         `json:"stdin,omitempty"` // the session writes to the container's input
	TTY       bool         `json:"tty,omitempty"`   // the session's sizes are the terminal's
	Size      session.Size `json:"size,omitzero"`
	Backlog   bool         `json:"backlog,omitempty"` // begin with the latest output before
}

// Copy names what is copied out of a container, or where an archive is
// unpacked in one. Archives are POSIX tar.
type Copy struct {
	Container string `json:"container"`
	Path      string `json:"path"`
	// KeepOwners gives what is unpacked the numeric owners of the archive, in
	// the place of the container's user.
	KeepOwners bool `json:"keepOwners,omitempty"`
}

// Validate says what is wrong with an Exec.
func (e *Exec) Validate() error {
	if len(e.Args) == 0 || e.Args[0] == "" {
		return errors.New("no command")
	}
	if len(e.Args) > maxArgs || len(e.Env) > maxArgs {
		return fmt.Errorf("more than %d arguments", maxArgs)
	}
	size := 0
	for _, s := range append(append([]string(nil), e.Args...), e.Env...) {
		if strings.ContainsRune(s, 0) {
			return errors.New("a zero byte in an argument")
		}
		size += len(s)
	}
	if size > maxArgBytes {
		return fmt.Errorf("a command of %d bytes: the limit is %d", size, maxArgBytes)
	}
	if e.WorkingDir != "" {
		return checkPath(e.WorkingDir)
	}
	return nil
}

// Accept answers a call for a session: it can be done, and the session begins.
type Accept func() (session.Conn, error)

// Exec runs a command. The session that it returns ends with an Exit; when it
// is closed before, the command is hung up, and killed after a while.
func (c *Client) Exec(ctx context.Context, e Exec) (session.Conn, error) {
	if err := e.Validate(); err != nil {
		return nil, errorf(CodeInvalid, "exec: %v", err)
	}
	return c.begin(ctx, request{Call: callExec, Exec: &e})
}

// Attach joins a container's own process: its output from now on, and its
// input if it was started with one, until it has ended for good. Closing the
// session leaves it running. One that takes nothing for a while, so that it
// would hold up the container, is ended with CodeSlow.
func (c *Client) Attach(ctx context.Context, a Attach) (session.Conn, error) {
	return c.begin(ctx, request{Call: callAttach, Attach: &a})
}

// Forward connects to a TCP port in the pod: on its loopback, and on its own
// address if nothing listens there.
func (c *Client) Forward(ctx context.Context, port int) (session.Conn, error) {
	return c.begin(ctx, request{Call: callForward, Port: port})
}

// CopyOut sends a file or a directory of a container as an archive.
func (c *Client) CopyOut(ctx context.Context, what Copy) (session.Conn, error) {
	return c.begin(ctx, request{Call: callCopyOut, Copy: &what})
}

// CopyIn unpacks an archive in a container.
func (c *Client) CopyIn(ctx context.Context, where Copy) (session.Conn, error) {
	return c.begin(ctx, request{Call: callCopyIn, Copy: &where})
}

// Sessions counts those that are open.
func (c *Client) Sessions() int { return len(c.sessions) }

// begin opens a stream for a session and waits for the guest to agree. Only
// that is held to ctx: the session lasts until it is closed, or the channel is.
func (c *Client) begin(ctx context.Context, req request) (_ session.Conn, err error) {
	select {
	case c.sessions <- struct{}{}:
	default:
		return nil, errorf(CodeBusy, "the pod has %d sessions open, as many as it may", MaxSessions)
	}
	release := func() { <-c.sessions }
	defer func() {
		if err != nil {
			release()
		}
	}()
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	req.Version = ProtocolVersion
	if err = c.send(ctx, stream, req); err == nil {
		_, err = c.receive(ctx, stream, callTimeout)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	// A command may say nothing for hours; who may wait how long is decided
	// where the session is relayed.
	if err = stream.SetDeadline(time.Time{}); err != nil {
		stream.Close()
		return nil, err
	}
	return &hostSession{Stream: session.NewStream(stream), release: release}, nil
}

// hostSession is a session as the host has it: what the guest sends is looked
// at before anybody else sees it.
type hostSession struct {
	*session.Stream
	once    sync.Once
	release func()
}

// Close ends the session and gives its place free.
func (s *hostSession) Close() error {
	s.once.Do(s.release)
	return s.Stream.Close()
}

// Receive reads one frame of a hostile guest.
func (s *hostSession) Receive() (session.Frame, error) {
	f, err := s.Stream.Receive()
	if err != nil {
		return f, err
	}
	switch f.Kind {
	case session.Exit:
		_, err = session.ParseStatus(f.Payload)
	case session.Problem:
		var fault session.Fault
		if fault, err = session.ParseFault(f.Payload); err == nil {
			return f, &CallError{Code: printable(fault.Code), Message: printable(fault.Detail)}
		}
	case session.Stdout, session.Stderr, session.EOF:
	default:
		err = session.ErrKind
	}
	return f, err
}

// serveInteractive answers a call whose stream becomes a session.
func serveInteractive(ctx context.Context, stream *yamux.Stream, req request, h Handler, answer func(reply, error) error) {
	var conn *session.Stream
	accept := func() (session.Conn, error) {
		if err := answer(reply{}, nil); err != nil {
			return nil, err
		}
		conn = session.NewStream(stream)
		return conn, stream.SetDeadline(time.Time{})
	}
	var err error
	switch {
	case req.Call == callExec && req.Exec != nil:
		if err = req.Exec.Validate(); err != nil {
			err = errorf(CodeInvalid, "exec: %v", err)
			break
		}
		err = h.Exec(ctx, *req.Exec, accept)
	case req.Call == callAttach && req.Attach != nil:
		err = h.Attach(ctx, *req.Attach, accept)
	case req.Call == callForward:
		err = h.Forward(ctx, req.Port, accept)
	case req.Call == callCopyOut && req.Copy != nil:
		err = h.CopyOut(ctx, *req.Copy, accept)
	case req.Call == callCopyIn && req.Copy != nil:
		err = h.CopyIn(ctx, *req.Copy, accept)
	default:
		err = errorf(CodeInvalid, "%s: nothing is asked for", req.Call)
	}
	switch {
	case conn != nil && err == nil:
		lastRead(stream)
	case conn == nil && err == nil: // the host has gone before it was answered
	case conn == nil:
		_ = answer(reply{}, err) //nolint:errcheck // as below
	default:
		e := asCallError(err)
		stream.SetWriteDeadline(time.Now().Add(callTimeout))
		_ = session.SendFault(conn, session.Fault{Code: e.Code, Detail: e.Message}) //nolint:errcheck // a host that has gone misses nothing
		lastRead(stream)
	}
}

// lastRead waits until the host closes its side, which it does once it has read
// the end, or until the channel is gone. A stream that is closed here is reset
// after a while, and what a slow reader has not taken yet would be lost.
func lastRead(stream *yamux.Stream) {
	_ = stream.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, stream)
}
