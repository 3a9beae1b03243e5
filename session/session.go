// SPDX-License-Identifier: Apache-2.0

// Package session is the protocol of exec sessions and of attach, console, port-forward and cp. A session is two streams of small frames, one
// in each direction, between a client and the guest of a pod:
//
//	client ── WebSocket ── server ── WebSocket, mutual TLS ── agent ── yamux ── husk-init
//
// On a WebSocket a frame is one binary message with the kind in its first byte. On the guest channel a frame also has its length
// (stream.go). Every hop passes frames on one by one, and holds at most one in each direction. So a slow receiver slows down the sender,
// and nothing is lost. The package is linked into husk-init, so it imports only the standard library. Package ws has the WebSocket.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Protocol is the WebSocket subprotocol of a session.
const Protocol = "husk.v1"

// BearerPrefix begins the subprotocol in which a browser, which cannot set a header, sends its token. The server never selects it.
const BearerPrefix = "husk.bearer."

const (
	// MaxPayload bounds a frame's payload in bytes.
	MaxPayload = 64 << 10
	// Chunk is how many bytes of a stream go into one frame. It is large enough for fast copies, and small enough that the next keystroke does
	// not wait.
	Chunk = 32 << 10
	// MaxDetail bounds the detail of a problem, in bytes.
	MaxDetail = 600
)

// Kind is the kind of a frame.
type Kind byte

// The kinds of frames. FromClient and FromPod report who may send which.
const (
	Stdin   Kind = 0 // bytes of the command's input, to the connection, or of the archive that is copied in
	Stdout  Kind = 1 // bytes of the command's output, from the connection, or of the archive that is copied out
	Stderr  Kind = 2
	Resize  Kind = 3 // the terminal's size, JSON: {"cols":80,"rows":24}
	Signal  Kind = 4 // a signal's name, such as INT
	EOF     Kind = 5 // the sender's bytes have ended; empty
	Exit    Kind = 6 // the end: JSON of a Status
	Problem Kind = 7 // the end, because something failed: JSON of a Fault
)

// FromClient reports whether a client may send this kind.
func (k Kind) FromClient() bool { return k == Stdin || k == Resize || k == Signal || k == EOF }

// FromPod reports whether a pod may send this kind.
func (k Kind) FromPod() bool { return k == Stdout || k == Stderr || k == EOF || k.Final() }

// Final reports whether no frame follows this kind.
func (k Kind) Final() bool { return k == Exit || k == Problem }

// Frame is one message. The next Receive may overwrite its payload.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// Conn is one end of a session. One goroutine receives, and several may send. Close ends all calls that are blocked.
type Conn interface {
	Receive() (Frame, error)
	Send(kind Kind, payload []byte) error
	Close() error
}

// Errors for frames that break the protocol.
var (
	ErrEmpty    = errors.New("session: an empty message")
	ErrTooLarge = fmt.Errorf("session: a payload of more than %d bytes", MaxPayload)
	ErrKind     = errors.New("session: a frame of a kind that is not allowed here")
)

// Parse reads a frame from a message.
func Parse(message []byte) (Frame, error) {
	switch {
	case len(message) == 0:
		return Frame{}, ErrEmpty
	case len(message) > MaxPayload+1:
		return Frame{}, ErrTooLarge
	case Kind(message[0]) > Problem:
		return Frame{}, ErrKind
	}
	return Frame{Kind(message[0]), message[1:]}, nil
}

// Size is the size of a terminal, in characters.
type Size struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// Status is how a command ended.
type Status struct {
	Code   int `json:"code"`             // 128+n when killed by signal n
	Signal int `json:"signal,omitempty"` // that killed it
}

// Fault is the reason why a session could not continue: a problem code of the API, and a sentence.
type Fault struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// ParseSize reads a Resize.
func ParseSize(payload []byte) (Size, error) {
	var s Size
	if err := json.Unmarshal(payload, &s); err != nil {
		return Size{}, fmt.Errorf("session: size: %w", err)
	}
	return s, nil
}

// ParseStatus reads an Exit. A code is that of a process, 0 to 255.
func ParseStatus(payload []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(payload, &s); err != nil {
		return Status{}, fmt.Errorf("session: exit: %w", err)
	}
	if s.Code < 0 || s.Code > 255 || s.Signal < 0 || s.Signal > 64 {
		return Status{}, errors.New("session: exit: a number is out of range")
	}
	return s, nil
}

// ParseFault reads a Problem and cuts a detail that is too long.
func ParseFault(payload []byte) (Fault, error) {
	var f Fault
	if err := json.Unmarshal(payload, &f); err != nil {
		return Fault{}, fmt.Errorf("session: problem: %w", err)
	}
	if len(f.Code) > 64 {
		return Fault{}, errors.New("session: problem: the code is too long")
	}
	f.Detail = clip(f.Detail)
	return f, nil
}

// clip cuts a text to MaxDetail bytes, between runes.
func clip(s string) string {
	if len(s) <= MaxDetail {
		return s
	}
	end := MaxDetail
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	return s[:end]
}

// SendExit ends a session with a command's exit.
func SendExit(c Conn, s Status) error { return sendJSON(c, Exit, s) }

// SendFault ends a session with a problem.
func SendFault(c Conn, f Fault) error {
	f.Detail = clip(f.Detail)
	return sendJSON(c, Problem, f)
}

// SendSize sends the size of a terminal.
func SendSize(c Conn, s Size) error { return sendJSON(c, Resize, s) }

func sendJSON(c Conn, kind Kind, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(kind, raw)
}
