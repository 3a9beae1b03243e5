// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"husk/client/archive"
	"husk/openapi"
	"husk/session"
)

// CopyOptions describe a copy.
type CopyOptions struct {
	Container string // may be empty if the pod has only one
	Path      string // in the container
	// KeepOwners keeps the archive's numeric owners. Otherwise files that are copied in belong to the container's user.
	KeepOwners bool
	// Skipped is called for each file that is not copied, such as a device; may be nil.
	Skipped func(name, why string)
	// Warn is called with each message from the container's side, such as why a file could not be copied; may be nil.
	Warn func(message string)
}

func (o CopyOptions) skipped(name, why string) {
	if o.Skipped != nil {
		o.Skipped(name, why)
	}
}

// ErrIncomplete says that some of the files could not be copied. CopyOptions.Warn gets the reasons.
var ErrIncomplete = errors.New("not everything was copied")

// CopyOut writes a file or directory of a container to w, as a tar archive.
func (p Pods) CopyOut(ctx context.Context, id uuid.UUID, o CopyOptions, w io.Writer) error {
	params := openapi.CopyFromPodParams{Container: given(o.Container), Path: o.Path}
	req, err := openapi.NewCopyFromPodRequest(p.c.api.Server, id, &params)
	s, err := p.c.open(ctx, req, err)
	if err != nil {
		return err
	}
	return s.transfer(ctx, o, w)
}

// CopyIn unpacks a tar archive in a container. If the path is an existing directory, the files go into it; otherwise the path is the new name.
func (p Pods) CopyIn(ctx context.Context, id uuid.UUID, o CopyOptions, r io.Reader) error {
	return p.copyIn(ctx, id, o, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Download copies a file or directory of a container to a local path: into the path if that is a directory, and under that name otherwise.
// It writes nothing outside of the path, whatever the container sends.
func (p Pods) Download(ctx context.Context, id uuid.UUID, o CopyOptions, local string) error {
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := archive.Unpack(r, local, o.skipped)
		r.CloseWithError(err) // if err is nil, the rest of the stream is not needed
		unpacked <- err
	}()
	err := p.CopyOut(ctx, id, o, w)
	if err == nil || !errors.Is(err, io.ErrClosedPipe) {
		w.CloseWithError(err) // if err is nil, the archive is complete
	}
	if e := <-unpacked; e != nil && (err == nil || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, e)) {
		return e
	}
	return err
}

// Upload copies a local file or directory into a container: into the path if that is a directory, and under that name otherwise.
func (p Pods) Upload(ctx context.Context, id uuid.UUID, local string, o CopyOptions) error {
	return p.copyIn(ctx, id, o, func(w io.Writer) error { return archive.Pack(w, filepath.Clean(local), o.skipped) })
}

// copyIn sends the archive that the function pack writes.
func (p Pods) copyIn(ctx context.Context, id uuid.UUID, o CopyOptions, pack func(io.Writer) error) error {
	params := openapi.CopyToPodParams{Container: given(o.Container), Path: o.Path, KeepOwners: given(o.KeepOwners)}
	req, err := openapi.NewCopyToPodRequest(p.c.api.Server, id, &params)
	s, err := p.c.open(ctx, req, err)
	if err != nil {
		return err
	}
	packed := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(stdin{s.conn}, session.Chunk)
		err := errors.Join(pack(out), out.Flush())
		if err == nil {
			err = s.conn.Send(session.EOF, nil)
		}
		packed <- err
		if err != nil {
			s.conn.Close() // half an archive must not look like a whole one
		}
	}()
	err = s.transfer(ctx, o, io.Discard)
	if IsUnreachable(err) {
		select {
		case e := <-packed:
			if e != nil {
				err = e
			}
		default:
		}
	}
	return err
}

// transfer receives until the copy has ended.
func (s *Session) transfer(ctx context.Context, o CopyOptions, w io.Writer) error {
	defer s.conn.Close()
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	err := s.receive(Streams{Out: w, Err: warnings(func(text string) {
		if o.Warn != nil {
			o.Warn(text)
		}
	})})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ended := errors.AsType[*ExitError](err); ended {
		return ErrIncomplete
	}
	return err
}

// warnings takes messages, each in one Write.
type warnings func(string)

// Write implements io.Writer.
func (w warnings) Write(p []byte) (int, error) {
	w(strings.TrimSpace(string(p)))
	return len(p), nil
}

// stdin writes a session's input.
type stdin struct{ conn session.Conn }

// Write implements io.Writer.
func (s stdin) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), session.Chunk)
		if err := s.conn.Send(session.Stdin, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
