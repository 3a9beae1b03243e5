// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"io"
	"sync"
)

// Stream is a session over a stream of bytes, such as one of yamux. A frame is its kind, its length and its payload.
type Stream struct {
	rw io.ReadWriteCloser

	head [5]byte
	in   []byte // grows to the largest frame that was received

	mu  sync.Mutex
	out []byte
}

// NewStream makes a Conn from a stream. Closing it closes the stream.
func NewStream(rw io.ReadWriteCloser) *Stream { return &Stream{rw: rw} }

// Receive reads one frame. It refuses a length above the limit before it allocates memory.
func (s *Stream) Receive() (Frame, error) {
	if _, err := io.ReadFull(s.rw, s.head[:]); err != nil {
		return Frame{}, err
	}
	kind, n := Kind(s.head[0]), binary.BigEndian.Uint32(s.head[1:])
	switch {
	case kind > Problem:
		return Frame{}, ErrKind
	case n > MaxPayload:
		return Frame{}, ErrTooLarge
	}
	if uint32(cap(s.in)) < n {
		s.in = make([]byte, n)
	}
	payload := s.in[:n]
	if _, err := io.ReadFull(s.rw, payload); err != nil {
		if err == io.EOF { //nolint:errorlint // io.ReadFull returns it bare
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{kind, payload}, nil
}

// Send writes one frame, in one Write.
func (s *Stream) Send(kind Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out[:0], byte(kind))
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(len(payload)))
	s.out = append(s.out, payload...)
	_, err := s.rw.Write(s.out)
	return err
}

// Close closes the stream.
func (s *Stream) Close() error { return s.rw.Close() }
