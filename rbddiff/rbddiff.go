// SPDX-License-Identifier: Apache-2.0

// Package rbddiff reads and writes Ceph's format for the content of RBD images, version 1 (doc/dev/rbd-diff.rst). "rbd import-diff" and
// "rbd export-diff" know it, too. A stream names the size, has the parts that are not zero in ascending order, and ends with a mark, so that one that
// was cut off is noticed. Neither side keeps more than a piece in memory.
package rbddiff

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Header is how each stream begins.
const Header = "rbd diff v1\n"

// MaxPiece is how much data Reader returns at once, and the most that Writer needs to be given.
const MaxPiece = 1 << 20

// maxName bounds the names of snapshots, which are not used.
const maxName = 4096

// The kinds of records.
const (
	fromSnap byte = 'f'
	toSnap   byte = 't'
	size     byte = 's'
	data     byte = 'w'
	zero     byte = 'z'
	end      byte = 'e'
)

// ErrFormat means that something is not such a stream.
var ErrFormat = errors.New("this is not the content of an RBD image as \"rbd export-diff\" writes it")

// Writer writes a stream.
type Writer struct{ to io.Writer }

// NewWriter begins a stream for an image of so many bytes.
func NewWriter(to io.Writer, bytes int64) (*Writer, error) {
	record := append([]byte(Header), size)
	_, err := to.Write(binary.LittleEndian.AppendUint64(record, uint64(bytes))) //nolint:gosec // sizes are not negative
	return &Writer{to}, err
}

// Write adds data. Offsets ascend.
func (w *Writer) Write(offset int64, piece []byte) error {
	record := binary.LittleEndian.AppendUint64([]byte{data}, uint64(offset)) //nolint:gosec // offsets are not negative
	if _, err := w.to.Write(binary.LittleEndian.AppendUint64(record, uint64(len(piece)))); err != nil {
		return err
	}
	_, err := w.to.Write(piece)
	return err
}

// Close ends a stream that is complete.
func (w *Writer) Close() error {
	_, err := w.to.Write([]byte{end})
	return err
}

// Reader reads a stream.
type Reader struct {
	from *bufio.Reader
	size int64
	next int64 // all that follows is at this offset or later
	rest int64 // of a record of data
}

// NewReader reads the beginning of a stream, up to the size of the image. It refuses what is only a difference to a snapshot.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{from: bufio.NewReader(from)}
	header := make([]byte, len(Header))
	if _, err := io.ReadFull(r.from, header); err != nil || string(header) != Header {
		return nil, errors.Join(ErrFormat, reading(err))
	}
	for {
		kind, err := r.from.ReadByte()
		if err != nil {
			return nil, errors.Join(ErrFormat, reading(err))
		}
		switch kind {
		case fromSnap:
			return nil, fmt.Errorf("%w: it has only the difference to a snapshot; export the whole content", ErrFormat)
		case toSnap:
			if err := r.skipName(); err != nil {
				return nil, err
			}
		case size:
			r.size, err = r.number()
			return r, err
		default:
			return nil, fmt.Errorf("%w: it has a record %q before the size", ErrFormat, kind)
		}
	}
}

// reading keeps errors other than that the stream has ended.
func reading(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// Size returns the size of the image in bytes.
func (r *Reader) Size() int64 { return r.size }

// Next reads the next piece of data into a buffer, and returns where it belongs. It returns io.EOF at the end of a complete stream.
func (r *Reader) Next(buf []byte) (offset int64, n int, _ error) {
	for r.rest == 0 {
		if err := r.record(); err != nil {
			return 0, 0, err
		}
	}
	offset, n = r.next, int(min(r.rest, int64(len(buf)), MaxPiece))
	if _, err := io.ReadFull(r.from, buf[:n]); err != nil {
		return 0, 0, cut(err)
	}
	r.next, r.rest = r.next+int64(n), r.rest-int64(n)
	return offset, n, nil
}

// record reads the beginning of a record.
func (r *Reader) record() error {
	kind, err := r.from.ReadByte()
	if err != nil {
		return cut(err)
	}
	switch kind {
	case end:
		return io.EOF
	case data, zero:
		offset, err1 := r.number()
		length, err2 := r.number()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if offset < r.next || length > r.size || offset > r.size-length {
			return fmt.Errorf("%w: %d bytes at %d overlap what came before, or are beyond the size of %d bytes", ErrFormat, length, offset, r.size)
		}
		r.next = offset
		if kind == zero { // as everything that is not mentioned
			r.next += length
		} else {
			r.rest = length
		}
		return nil
	default:
		return fmt.Errorf("%w: it has an unknown record %q", ErrFormat, kind)
	}
}

// cut says that the stream ends too early.
func cut(err error) error {
	if reading(err) == nil {
		return fmt.Errorf("the content ends too early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func (r *Reader) number() (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(r.from, b[:]); err != nil {
		return 0, cut(err)
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: it has the number %d", ErrFormat, n)
	}
	return int64(n), nil
}

func (r *Reader) skipName() error {
	var b [4]byte
	if _, err := io.ReadFull(r.from, b[:]); err != nil {
		return cut(err)
	}
	n := binary.LittleEndian.Uint32(b[:])
	if n > maxName {
		return fmt.Errorf("%w: the name of a snapshot has %d bytes", ErrFormat, n)
	}
	if _, err := r.from.Discard(int(n)); err != nil {
		return cut(err)
	}
	return nil
}
