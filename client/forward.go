// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/session"
)

// Forward connects a local connection to a port of the pod, until one side has ended or ctx ends. It closes the local connection. Husk
// connects to the port on the pod's loopback address or, if nothing listens there, on the pod's network address.
func (p Pods) Forward(ctx context.Context, id uuid.UUID, port int, local net.Conn) error {
	defer local.Close()
	s, err := p.forward(ctx, id, port)
	if err != nil {
		return err
	}
	return s.relay(ctx, local)
}

// DialPort opens a connection to a port of the pod, for an [http.Transport] or a database driver. Closing it closes both directions.
func (p Pods) DialPort(ctx context.Context, id uuid.UUID, port int) (net.Conn, error) {
	s, err := p.forward(ctx, id, port)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go func() { // ends when either side closes its connection
		defer far.Close()
		_ = s.relay(context.WithoutCancel(ctx), far) //nolint:errcheck // the reader of near sees that it was closed
	}()
	return near, nil
}

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
				_ = s.conn.Send(session.EOF, nil) //nolint:errcheck // the receiver says why
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
