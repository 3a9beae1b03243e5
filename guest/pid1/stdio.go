// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/logring"
	"husk/session"
)

const (
	// backlogBytes limits the recent output that is kept for clients that attach later. It uses the
	// pod's memory.
	backlogBytes = 64 << 10
	// backlogPiece limits one piece of the backlog, in bytes.
	backlogPiece = 4 << 10
	// readerPieces limits the pieces of output that wait for one attached client, in addition to
	// what is in the channel.
	readerPieces = 16
	// outputHold is how long an attached client that reads nothing can block a container. Then it
	// is disconnected.
	outputHold = 10 * time.Second
)

// stdio is a container's standard streams across its runs: the log, the attached clients, and the
// target of input.
//
// Output goes to the log and to every attached client, and waits for the clients. A client that
// reads nothing for outputHold is disconnected. So no client blocks a container for longer, and a
// client that reads misses nothing.
type stdio struct {
	log *logring.Ring

	mu       sync.Mutex
	readers  []*reader // to which output is sent
	attached int       // clients that have not left yet
	backlog  []piece   // copies; at most backlogBytes
	kept     int
	lost     uint64        // bytes before the backlog
	run      *runIO        // nil between runs
	size     session.Size  // the last requested size of the terminal
	changed  chan struct{} // closed and replaced when run changes
	over     chan struct{} // closed when no further run will come
	joined   chan struct{} // closed when the first client has attached
}

// runIO is the input of one run.
type runIO struct {
	input *os.File // nil: none
	tty   *os.File // nil: no terminal
	ended bool     // the input has ended
}

// piece is some output. Its bytes never change, except in the backlog.
type piece struct {
	kind  session.Kind
	bytes []byte
}

// reader is one attached client.
type reader struct {
	pieces chan piece
	gone   chan struct{} // closed when the client leaves
	late   chan struct{} // closed when it was disconnected for being slow
}

func newStdio() *stdio {
	return &stdio{log: logring.New(), changed: make(chan struct{}), over: make(chan struct{}), joined: make(chan struct{})}
}

// close says that there will be no further run and no further output.
func (s *stdio) close() {
	s.log.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

// join adds an attached client. It returns the backlog, with a note if that is not all previous
// output; later output is sent as pieces.
func (s *stdio) join() (*reader, []piece) {
	r := &reader{pieces: make(chan piece, readerPieces), gone: make(chan struct{}), late: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, r)
	s.attached++
	select {
	case <-s.joined:
	default:
		close(s.joined)
	}
	before := make([]piece, 0, len(s.backlog)+1)
	if s.lost > 0 {
		before = append(before, piece{session.Stderr, fmt.Appendf(nil, "[%d earlier bytes are only in the log]\r\n", s.lost)})
	}
	for _, p := range s.backlog {
		before = append(before, piece{p.kind, bytes.Clone(p.bytes)})
	}
	return r, before
}

// leave must be called once after every join.
func (s *stdio) leave(r *reader) {
	close(r.gone)
	s.drop(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached--
}

// delivered reports whether an agent has been given the complete log, and every attached client has
// been sent its end.
func (s *stdio) delivered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached == 0 && s.log.Drained()
}

func (s *stdio) drop(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = slices.DeleteFunc(s.readers, func(other *reader) bool { return other == r })
}

// spread passes output to every attached client, and waits for them for at most hold.
func (s *stdio) spread(kind session.Kind, p []byte, hold time.Duration) {
	s.mu.Lock()
	s.keep(kind, p)
	readers := slices.Clone(s.readers)
	s.mu.Unlock()
	if len(readers) == 0 {
		return
	}
	out := piece{kind, bytes.Clone(p)}
	var patience *time.Timer
	for _, r := range readers {
		select {
		case r.pieces <- out:
			continue
		default:
		}
		if patience == nil {
			patience = time.NewTimer(hold)
			defer patience.Stop()
		}
		select {
		case r.pieces <- out:
		case <-r.gone:
		case <-patience.C:
			patience.Reset(0) // the other clients get no extra time
			s.drop(r)
			select {
			case <-r.late: // disconnected by the other stream
			default:
				close(r.late)
			}
		}
	}
}

// keep adds to the backlog. s.mu is held.
func (s *stdio) keep(kind session.Kind, p []byte) {
	for len(p) > 0 {
		n := min(len(p), backlogPiece)
		last := len(s.backlog) - 1
		if last >= 0 && s.backlog[last].kind == kind && len(s.backlog[last].bytes)+n <= backlogPiece {
			s.backlog[last].bytes = append(s.backlog[last].bytes, p[:n]...)
		} else {
			s.backlog = append(s.backlog, piece{kind, append(make([]byte, 0, n), p[:n]...)})
		}
		s.kept += n
		p = p[n:]
	}
	for s.kept > backlogBytes {
		s.kept -= len(s.backlog[0].bytes)
		s.lost += uint64(len(s.backlog[0].bytes))
		s.backlog[0] = piece{}
		s.backlog = s.backlog[1:]
	}
}

// begin connects the input of a run.
func (s *stdio) begin(run *runIO) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = run
	setSize(run.tty, s.size)
	s.wake()
}

// end disconnects the input of a run, which ends writes to it.
func (s *stdio) end(run *runIO) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == run {
		s.run = nil
		s.wake()
	}
	run.endInput()
}

func (s *stdio) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// endInput closes an input pipe. The input of a terminal is the terminal and never ends.
func (r *runIO) endInput() {
	r.ended = true
	if r.input != nil && r.input != r.tty {
		r.input.Close()
	}
}

// endInput ends the input of the current run.
func (s *stdio) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.endInput()
	}
}

// inputEnded reports whether the current run no longer takes input.
func (s *stdio) inputEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run != nil && s.run.ended
}

// write passes input to the current run, or waits for the next one. It drops input that a container
// no longer reads. It returns false if the client has gone.
func (s *stdio) write(conn session.Conn, p []byte) bool {
	for {
		s.mu.Lock()
		run, changed := s.run, s.changed
		if run != nil && run.ended {
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		if run != nil {
			return feed(conn, run.input, p)
		}
		stuck := time.NewTimer(stuckInput)
		select {
		case <-changed:
		case <-s.over:
			stuck.Stop()
			return true
		case <-stuck.C:
			if conn.Send(session.Stdout, nil) != nil {
				return false
			}
		}
		stuck.Stop()
	}
}

// resize sets the size of the terminal; the last request wins. With redraw, the program is notified
// even if the size is the same, so that it redraws itself.
func (s *stdio) resize(size session.Size, redraw bool) {
	if size.Cols == 0 || size.Rows == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if redraw && size == s.size && s.run != nil && size.Rows < 1<<15 {
		setSize(s.run.tty, session.Size{Cols: size.Cols, Rows: size.Rows + 1})
	}
	s.size = size
	if s.run != nil {
		setSize(s.run.tty, size)
	}
}

// setSize sets a terminal's size, if there is a terminal and a size.
func setSize(tty *os.File, s session.Size) {
	if tty == nil || s.Cols == 0 || s.Rows == 0 {
		return
	}
	if conn, err := tty.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) {
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: s.Cols, Row: s.Rows})
		})
	}
}

// streamKinds maps the streams of the log to the frames for attached clients.
var streamKinds = map[string]session.Kind{guest.Stdout: session.Stdout, guest.Stderr: session.Stderr}

// lastOutput is how many bytes may be read after a container's end: as much as a pipe can hold.
const lastOutput = 1 << 20

// output is what logring.Copy reads from a container. Its Read passes everything to the attached
// clients first.
type output struct {
	k    *child
	f    *os.File
	to   *stdio
	name string // of the stream
	late int    // bytes that arrived after the container's end
}

func (o *output) Read(p []byte) (int, error) {
	hold := outputHold
	if o.k.over.Load() {
		hold = outputWait
		o.f.SetReadDeadline(time.Now().Add(outputWait))
	}
	n, err := o.f.Read(p)
	if n > 0 {
		o.to.spread(streamKinds[o.name], p[:n], hold)
	}
	// If the pipe was passed to another container, its output might never end.
	if o.k.over.Load() {
		if o.late += n; o.late >= lastOutput && err == nil {
			err = io.EOF
		}
	}
	return n, err
}
