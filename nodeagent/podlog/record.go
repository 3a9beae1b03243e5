// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"husk/guest"
)

// record is a piece of output as it is stored: the length of what follows, flags, the time, the
// position of the piece's end, the boot of the guest with its length, and the bytes.
type record struct {
	time   time.Time
	stderr bool
	lines  bool // of a guest of the previous version, which counts lines instead of bytes
	boot   string
	end    uint64 // position
	bytes  []byte
}

const (
	flagStderr = 1 << iota
	flagLines
)

const (
	lengthBytes = 4
	fixedBytes  = 1 + 8 + 8 + 1 // flags, time, position, length of the boot
	maxBoot     = 64
	maxRecord   = fixedBytes + maxBoot + guest.MaxLogPiece + 1 // a line of the previous version has a newline in addition
)

// errTruncated says that a record is incomplete: it is being written, or a crash interrupted that.
var errTruncated = errors.New("the record is incomplete")

func (r *record) start() uint64 {
	if r.lines {
		return r.end - 1
	}
	return r.end - uint64(len(r.bytes))
}

// size returns how many bytes the record takes in a file.
func (r *record) size() int { return lengthBytes + fixedBytes + len(r.boot) + len(r.bytes) }

func (r *record) append(to []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(r.size()-lengthBytes)) //nolint:gosec // at most maxRecord
	flags := byte(0)
	if r.stderr {
		flags |= flagStderr
	}
	if r.lines {
		flags |= flagLines
	}
	to = append(to, flags)
	to = binary.BigEndian.AppendUint64(to, uint64(r.time.UnixNano())) //nolint:gosec // the bits of a signed number
	to = binary.BigEndian.AppendUint64(to, r.end)
	to = append(to, byte(len(r.boot)))
	to = append(to, r.boot...)
	return append(to, r.bytes...)
}

// readRecord reads the next record. It returns io.EOF after the last one, and errTruncated if the
// last one is incomplete; what it has read of it is then lost.
func readRecord(in *bufio.Reader) (record, error) {
	head, err := in.Peek(lengthBytes)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			return record{}, errTruncated
		}
		return record{}, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < fixedBytes || n > maxRecord {
		return record{}, fmt.Errorf("a record of %d bytes", n)
	}
	whole, err := in.Peek(lengthBytes + n)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return record{}, errTruncated
		}
		return record{}, err
	}
	body := whole[lengthBytes:]
	boot := int(body[fixedBytes-1])
	if fixedBytes+boot > n {
		return record{}, errors.New("a record without its boot")
	}
	r := record{
		stderr: body[0]&flagStderr != 0, lines: body[0]&flagLines != 0,
		time: time.Unix(0, int64(binary.BigEndian.Uint64(body[1:]))), //nolint:gosec // as above
		end:  binary.BigEndian.Uint64(body[9:]), boot: string(body[fixedBytes : fixedBytes+boot]),
		bytes: append([]byte(nil), body[fixedBytes+boot:]...),
	}
	if !r.lines && r.end < uint64(len(r.bytes)) || r.lines && r.end == 0 {
		return record{}, errors.New("a record before the beginning of its boot")
	}
	_, err = in.Discard(lengthBytes + n)
	return r, err
}

// newReader returns a reader that can hold a whole record.
func newReader(from io.Reader) *bufio.Reader { return bufio.NewReaderSize(from, 4*maxRecord) }
