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
	// backlogBytes bounds the output that is kept as it came, for those who
	// attach later. It is memory of the pod.
	backlogBytes = 64 << 10
	// backlogPiece bounds what is kept in one piece, in bytes.
	backlogPiece = 4 << 10
	// readerPieces bounds the pieces of output that wait for one who is
	// attached, beside what is on its way in the channel.
	readerPieces = 16
	// outputHold is how long one who is attached and takes nothing holds up a
	// container; then it is cut off.
	outputHold = 10 * time.Second
)

// stdio is what there is of a container's standard streams over its runs: the
// log, who is attached, and where input goes.
//
// Output goes to the log and to everyone who is attached, and waits for them.
// Whoever takes nothing for outputHold is cut off: a container goes on whatever
// happens on somebody's screen, and nobody who reads misses anything.
type stdio struct {
	log *logring.Ring

	mu      sync.Mutex
	readers []*reader
	backlog []piece // copies of its own; at most backlogBytes
	kept    int
	lost    uint64        // bytes before the backlog
	run     *runIO        // nil between runs
	size    session.Size  // of the terminal, as it was last asked for
	changed chan struct{} // closed and replaced when run changes
	over    chan struct{} // closed when there will be no more runs
}

// runIO is the input of one run.
type runIO struct {
	input *os.File // nil: none
	tty   *os.File // nil: no terminal
	ended bool     // no input any more
}

// piece is some output. Its bytes are never changed, except in the backlog.
type piece struct {
	kind  session.Kind
	bytes []byte
}

// reader is one who is attached.
type reader struct {
	pieces chan piece
	gone   chan struct{} // closed by the one who reads
	late   chan struct{} // closed when it was cut off
}

func newStdio() *stdio {
	return &stdio{log: logring.New(), changed: make(chan struct{}), over: make(chan struct{})}
}

// close tells that no more runs will come, and no more output.
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

// join makes one more who is attached. What was put out before is the backlog,
// with a note if that is not all; everything behind it comes as pieces.
func (s *stdio) join() (*reader, []piece) {
	r := &reader{pieces: make(chan piece, readerPieces), gone: make(chan struct{}), late: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, r)
	before := make([]piece, 0, len(s.backlog)+1)
	if s.lost > 0 {
		before = append(before, piece{session.Stderr, fmt.Appendf(nil, "[the %d bytes before this are in the log only]\r\n", s.lost)})
	}
	for _, p := range s.backlog {
		before = append(before, piece{p.kind, bytes.Clone(p.bytes)})
	}
	return r, before
}

// leave is called once by everyone who has joined.
func (s *stdio) leave(r *reader) {
	close(r.gone)
	s.drop(r)
}

func (s *stdio) drop(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = slices.DeleteFunc(s.readers, func(other *reader) bool { return other == r })
}

// spread hands output to everyone who is attached, and waits for them for hold
// at the most.
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
			patience.Reset(0) // nobody else gets more time
			s.drop(r)
			select {
			case <-r.late: // by the other stream
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

// end disconnects it. Whoever writes stops.
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

// endInput ends a pipe. The input of a terminal is the terminal, and never ends.
func (r *runIO) endInput() {
	r.ended = true
	if r.input != nil && r.input != r.tty {
		r.input.Close()
	}
}

// endInput ends the input of the run of the moment.
func (s *stdio) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.endInput()
	}
}

// inputEnded tells whether the run of the moment takes no more input.
func (s *stdio) inputEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run != nil && s.run.ended
}

// write passes input on to the run of the moment, and waits for the next one
// where there is none. What a container does not want any more is dropped.
// False: the client has gone meanwhile.
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

// resize makes the terminal as large as somebody's screen; the last one who
// asks has it. A program that is shown on a new screen of the same size is told
// all the same, so that it draws itself.
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

// setSize makes a terminal so large, if there is one and a size.
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

// streamKinds are the frames in which the streams of the log go to those who
// are attached.
var streamKinds = map[string]session.Kind{guest.Stdout: session.Stdout, guest.Stderr: session.Stderr}

// lastOutput is how much a container may have put out before its end that is
// still to be read, in bytes: as much as a pipe may hold.
const lastOutput = 1 << 20

// output is what copyLines reads of a container: everything goes to those who
// are attached first.
type output struct {
	k    *child
	f    *os.File
	to   *stdio
	name string // of the stream
	late int    // bytes that came after the container's end
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
	// Who has passed its pipe on to another container may write for ever.
	if o.k.over.Load() {
		if o.late += n; o.late >= lastOutput && err == nil {
			err = io.EOF
		}
	}
	return n, err
}
