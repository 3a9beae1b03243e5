// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/session"
)

// Forward connects a local connection to a port of the pod, until both directions have ended, one has failed, or ctx
// ends. It closes the local connection. Husk connects to the port on the pod's loopback address or, if nothing listens there, on the pod's network address.
func (p Pods) Forward(ctx context.Context, id uuid.UUID, port int, local net.Conn) error {
	defer local.Close()
	s, err := p.forward(ctx, id, port)
	if err != nil {
		return err
	}
	return s.relay(ctx, local)
}

// DialPort opens a connection to a port of the pod, for an [http.Transport] or a database driver. Closing it closes both directions and
// ends the session.
func (p Pods) DialPort(ctx context.Context, id uuid.UUID, port int) (net.Conn, error) {
	s, err := p.forward(ctx, id, port)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	conn := &portConn{Conn: near}
	go func() { // ends when either side closes its connection
		defer far.Close()
		_ = s.relay(context.WithoutCancel(ctx), portEnd{far, conn}) //nolint:errcheck // the reader of conn sees that it was closed
	}()
	return conn, nil
}

// portConn is the caller's side of a pipe. After the pod has ended its stream, reads return io.EOF, and writes still work. A pipe of package
// net cannot do that.
type portConn struct {
	net.Conn

	ended atomic.Bool
}

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// end makes all reads return io.EOF. The caller has read everything before, because a pipe has no buffer.
func (c *portConn) end() error {
	c.ended.Store(true)
	return c.Conn.SetReadDeadline(past)
}

// Read implements net.Conn.
func (c *portConn) Read(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if n == 0 && err != nil && c.ended.Load() {
		err = io.EOF
	}
	return n, err
}

// SetReadDeadline implements net.Conn.
func (c *portConn) SetReadDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); err != nil || !c.ended.Load() {
		return err
	}
	return c.Conn.SetReadDeadline(past)
}

// SetDeadline implements net.Conn.
func (c *portConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

// portEnd is the relay's end of the pipe.
type portEnd struct {
	net.Conn

	near *portConn
}

// CloseWrite ends the stream that the caller reads.
func (e portEnd) CloseWrite() error { return e.near.end() }

func (p Pods) forward(ctx context.Context, id uuid.UUID, port int) (*Session, error) {
	req, err := openapi.NewForwardPodPortRequest(p.c.api.Server, id, &openapi.ForwardPodPortParams{Port: port})
	return p.c.open(ctx, req, err)
}

func (s *Session) relay(ctx context.Context, local net.Conn) error {
	defer s.conn.Close()
	defer context.AfterFunc(ctx, func() { local.Close(); s.conn.Close() })()
	go func() {
		buf := make([]byte, session.Chunk)
		for {
			n, err := local.Read(buf)
			if n > 0 && s.conn.Send(session.Stdin, buf[:n]) != nil {
				return // the receiver says why
			}
			if errors.Is(err, io.EOF) {
				_ = s.conn.Send(session.EOF, nil)       //nolint:errcheck // the receiver says why
				if _, whole := local.(portEnd); whole { // the caller cannot half close its side, so it has closed it
					s.conn.Close()
				}
				return
			}
			if err != nil {
				s.conn.Close()
				return
			}
		}
	}()
	for {
		f, err := s.conn.Receive()
		if err != nil {
			return brokeOff(err)
		}
		switch f.Kind {
		case session.Stdout:
			if _, err := local.Write(f.Payload); err != nil {
				return nil //nolint:nilerr // the local side has closed its connection
			}
		case session.EOF:
			if half, ok := local.(interface{ CloseWrite() error }); ok {
				if err := half.CloseWrite(); err != nil {
					return nil //nolint:nilerr // as above
				}
			}
		case session.Problem:
			return fault(f.Payload)
		case session.Exit:
			return nil
		default:
		}
	}
}
