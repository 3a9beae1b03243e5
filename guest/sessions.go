// SPDX-License-Identifier: Apache-2.0

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

// MaxSessions limits the streams that are open in a guest at the same time. Each costs the guest a
// command, and the host two goroutines and at most the channel's receive window.
const MaxSessions = 32

// Limits of a request for a stream.
const (
	maxArgs     = 1024
	maxArgBytes = 128 << 10
)

// Exec is a command to run in addition to a container's own process, as the same user, in the same
// namespaces and with the same capabilities.
type Exec struct {
	Container string       `json:"container"`
	Args      []string     `json:"args"`
	Env       []string     `json:"env,omitempty"` // in addition to the container's own
	TTY       bool         `json:"tty,omitempty"`
	Stdin     bool         `json:"stdin,omitempty"`
	Size      session.Size `json:"size,omitzero"` // of the terminal
	User      string       `json:"user,omitempty"`
	// WorkingDir is the container's own if empty.
	WorkingDir string `json:"workingDir,omitempty"`
}

// Attach connects to a container's own process.
type Attach struct {
	Container string       `json:"container"`
	Stdin     bool         `json:"stdin,omitempty"` // the client writes to the container's input
	TTY       bool         `json:"tty,omitempty"`   // the client's sizes are the terminal's
	Size      session.Size `json:"size,omitzero"`
	Backlog   bool         `json:"backlog,omitempty"` // begin with the latest output before the attach
}

// Copy names what to copy out of a container, or where to unpack an archive in a container.
// Archives are POSIX tar.
type Copy struct {
	Container string `json:"container"`
	Path      string `json:"path"`
	// KeepOwners sets the numeric owners in the archive instead of the container's user.
	KeepOwners bool `json:"keepOwners,omitempty"`
}

// Validate returns what is wrong with an Exec.
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

// Accept confirms a call for a stream: the request can be served, and the stream begins.
type Accept func() (session.Conn, error)

// Exec runs a command. The stream that it returns ends with an Exit. If it is closed before, the
// command gets SIGHUP, and is killed after a while.
func (c *Client) Exec(ctx context.Context, e Exec) (session.Conn, error) {
	if err := e.Validate(); err != nil {
		return nil, errorf(CodeInvalid, "exec: %v", err)
	}
	return c.begin(ctx, request{Call: callExec, Exec: &e})
}

// Attach connects to a container's own process: to its output from now on, and to its input if it
// has one, until the container has ended for good. Closing the stream does not stop the container.
// A client that reads nothing for a while would block the container, so its stream is ended with
// CodeSlow.
func (c *Client) Attach(ctx context.Context, a Attach) (session.Conn, error) {
	return c.begin(ctx, request{Call: callAttach, Attach: &a})
}

// Forward connects to a TCP port in the pod: on its loopback address, and on its own address if
// nothing listens there.
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

// Sessions returns the number of open streams.
func (c *Client) Sessions() int { return len(c.sessions) }

// begin opens a stream and waits until the guest agrees. Only that is limited by ctx: the stream
// lasts until it or the channel is closed.
func (c *Client) begin(ctx context.Context, req request) (_ session.Conn, err error) {
	select {
	case c.sessions <- struct{}{}:
	default:
		return nil, errorf(CodeBusy, "the pod has %d open sessions, which is the limit; close one and retry", MaxSessions)
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
	// A command may be silent for hours. The relay of the stream decides how long to wait.
	if err = stream.SetDeadline(time.Time{}); err != nil {
		stream.Close()
		return nil, err
	}
	return &hostSession{Stream: session.NewStream(stream), release: release}, nil
}

// hostSession is the host's side of a stream. It checks what the guest sends before anything else
// sees it.
type hostSession struct {
	*session.Stream
	once    sync.Once
	release func()
}

// Close ends the stream and frees its slot.
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

// serveInteractive serves a call whose stream becomes an interactive stream.
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
		err = errorf(CodeInvalid, "%s: the request has no parameters", req.Call)
	}
	switch {
	case conn != nil && err == nil:
		lastRead(stream)
	case conn == nil && err == nil: // the host has gone before the response
	case conn == nil:
		_ = answer(reply{}, err) //nolint:errcheck // as below
	default:
		e := asCallError(err)
		stream.SetWriteDeadline(time.Now().Add(callTimeout))
		_ = session.SendFault(conn, session.Fault{Code: e.Code, Detail: e.Message}) //nolint:errcheck // the host may have gone
		lastRead(stream)
	}
}

// lastRead waits until the host closes its side, which it does once it has read the end, or until
// the channel is gone. A stream that is closed here is reset after a while, and a slow reader would
// lose what it has not read yet.
func lastRead(stream *yamux.Stream) {
	_ = stream.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, stream)
}
