// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Limits of what is sent on the channel.
const (
	// MaxFrame limits every frame; the largest one is a spec with its files.
	MaxFrame = 1 << 20
	// maxReply limits what the host reads from a guest in one frame.
	maxReply = 256 << 10
	// MaxLogPiece is the largest piece of output in one entry of a log.
	MaxLogPiece = 16 << 10
	// maxLogBatch limits the output in one frame so that it stays below maxReply in base64 and with
	// its field names.
	maxLogBatch = 128 << 10
)

// writeFrame writes the length of v as JSON and then v, in one Write.
func writeFrame(w io.Writer, v any, limit int) error {
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false) // an escape makes six bytes of one
	if err := e.Encode(v); err != nil {
		return err
	}
	body := encoded.Bytes()
	if len(body) > limit {
		return fmt.Errorf("frame of %d bytes: the limit is %d", len(body), limit)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

// readFrame reads one frame's body. It refuses a length beyond the limit before it allocates memory
// for it.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(limit) {
		return nil, fmt.Errorf("frame of %d bytes: the limit is %d", n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}
