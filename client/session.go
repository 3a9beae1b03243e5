// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/session"
	"husk/session/ws"
)

// ExecOptions describe a command to run in a container.
type ExecOptions struct {
	Command    []string
	Container  string   // may be empty if the pod has only one
	Env        []string // NAME=VALUE, added to the container's own
	User       string   // user or user:group; empty is the container's
	WorkingDir string   // empty is the container's
	Stdin      bool     // input will be sent
	Terminal   bool     // gives the command a terminal; standard output and standard error are then one stream
	Size       session.Size
}

// Exec runs a command in a container. ctx applies only until the session is open.
func (p Pods) Exec(ctx context.Context, id uuid.UUID, o ExecOptions) (*Session, error) {
	params := openapi.ExecInPodParams{
		Command: o.Command, Container: given(o.Container), User: given(o.User), WorkingDir: given(o.WorkingDir), Stdin: given(o.Stdin), Tty: given(o.Terminal),
	}
	if len(o.Env) > 0 {
		params.Env = &o.Env
	}
	params.Cols, params.Rows = sides(o.Size)
	req, err := openapi.NewExecInPodRequest(p.c.api.Server, id, &params)
	return p.c.open(ctx, req, err)
}

// AttachOptions describe how to attach to a running container.
type AttachOptions struct {
	Container string // may be empty if the pod has only one
	Stdin     bool   // input will be sent; the container must have been created with stdin
	Terminal  bool   // attaches to the container's terminal; the container must have been created with tty
	Size      session.Size
	Backlog   bool // begins with the container's latest earlier output
}

// Attach connects to the input and output of a running container. ctx applies only until the session is open.
func (p Pods) Attach(ctx context.Context, id uuid.UUID, o AttachOptions) (*Session, error) {
	params := openapi.AttachToPodParams{Container: given(o.Container), Stdin: given(o.Stdin), Tty: given(o.Terminal), Backlog: given(o.Backlog)}
	params.Cols, params.Rows = sides(o.Size)
	req, err := openapi.NewAttachToPodRequest(p.c.api.Server, id, &params)
	return p.c.open(ctx, req, err)
}

// Console follows the console of the pod's virtual machine: what its kernel and husk-init print. It takes no input.
func (p Pods) Console(ctx context.Context, id uuid.UUID) (*Session, error) {
	req, err := openapi.NewOpenPodConsoleRequest(p.c.api.Server, id, &openapi.OpenPodConsoleParams{})
	return p.c.open(ctx, req, err)
}

func sides(s session.Size) (cols, rows *int) {
	if s == (session.Size{}) {
		return nil, nil
	}
	return new(int(s.Cols)), new(int(s.Rows))
}

// Session is a connection to a command or to a container.
type Session struct{ conn *ws.Conn }

// open opens a session for a request that the generated client has made.
func (c *Client) open(ctx context.Context, req *http.Request, err error) (*Session, error) {
	if err != nil {
		return nil, err
	}
	web, ok := c.api.Client.(*http.Client)
	if !ok {
		return nil, errors.New("the generated client does not use net/http")
	}
	conn, answer, err := ws.Dial(ctx, web, req.URL.String(), nil)
	if err == nil {
		return &Session{conn}, nil
	}
	if answer != nil && answer.Status >= http.StatusBadRequest {
		return nil, Check(&http.Response{
			StatusCode: answer.Status, Status: fmt.Sprint(answer.Status), Header: answer.Header, Body: io.NopCloser(bytes.NewReader(answer.Body)), Request: req,
		}, nil)
	}
	return nil, callError(err)
}

// ErrDetached says that the client has detached: the session has ended. After Attach, the container continues; a command that was started with
// Exec gets SIGHUP.
var ErrDetached = errors.New("detached")

// Streams are the local input and outputs of a session. Each may be nil.
type Streams struct {
	// In is read to its end, and then the command's input ends. If a Read returns [ErrDetached], the client detaches.
	In       io.Reader
	Out, Err io.Writer
}

// Stream relays until the command has ended. It returns an [*ExitError] if the exit code is not 0, [ErrDetached] if the client detached,
// or the reason why the session could not continue. It closes the session. When ctx ends, it closes the session and returns ctx.Err();
// a command that was started with Exec then gets SIGHUP.
//
// Stream does not wait for a Read of In that is still blocked when the command ends.
func (s *Session) Stream(ctx context.Context, io Streams) error {
	defer s.conn.Close()
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	left := make(chan struct{})
	if io.In != nil {
		go s.send(io.In, left)
	}
	err := s.receive(io)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, failed := errors.AsType[*ExitError](err); err == nil || failed {
		return errors.Join(err, s.conn.End())
	}
	select {
	case <-left:
		return ErrDetached
	default:
		return err
	}
}

// receive passes output on until the session has ended.
func (s *Session) receive(io Streams) error {
	for {
		f, err := s.conn.Receive()
		if err != nil {
			return brokeOff(err)
		}
		switch f.Kind {
		case session.Stdout:
			err = write(io.Out, f.Payload)
		case session.Stderr:
			err = write(io.Err, f.Payload)
		case session.Exit:
			status, err := session.ParseStatus(f.Payload)
			if err == nil && status.Code != 0 {
				err = &ExitError{status.Code, status.Signal}
			}
			return err
		case session.Problem:
			return fault(f.Payload)
		default:
		}
		if err != nil {
			return err
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// send passes input on until the input ends. If the input ends with ErrDetached, send closes left and ends the session.
func (s *Session) send(in io.Reader, left chan<- struct{}) {
	buf := make([]byte, session.Chunk)
	for {
		n, err := in.Read(buf)
		if n > 0 && s.conn.Send(session.Stdin, buf[:n]) != nil {
			return // receive says why
		}
		if errors.Is(err, ErrDetached) {
			close(left)
			_ = s.conn.End() //nolint:errcheck // the session is given up
			return
		}
		if err != nil {
			_ = s.conn.Send(session.EOF, nil) //nolint:errcheck // receive says why
			return
		}
	}
}

// Resize sets the size of the command's terminal.
func (s *Session) Resize(size session.Size) error { return session.SendSize(s.conn, size) }

// Signal sends a signal to the command, by a name such as INT or TERM.
func (s *Session) Signal(name string) error { return s.conn.Send(session.Signal, []byte(name)) }

// Close closes the session. A command that was started with Exec gets SIGHUP, and SIGKILL five seconds later.
func (s *Session) Close() error { return s.conn.Close() }

// fault returns the reason why a session could not continue.
func fault(payload []byte) error {
	f, err := session.ParseFault(payload)
	if err != nil {
		return err
	}
	return &Error{Code: husk.Code(f.Code), Detail: f.Detail}
}

// brokeOff returns the error for a connection that ended before its session.
func brokeOff(err error) error {
	return &UnreachableError{fmt.Errorf("the session broke off: %w", err)}
}
