// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"husk/guest"
	"husk/session"
)

// drained returns the output that a reader has not read yet.
func drained(r *reader) string {
	var b strings.Builder
	for {
		select {
		case p := <-r.pieces:
			b.Write(p.bytes)
		default:
			return b.String()
		}
	}
}

func wasCut(r *reader) bool {
	select {
	case <-r.late:
		return true
	default:
		return false
	}
}

func TestAClientThatReadsNothingBlocksAContainerOnlyBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStdio()
		slow, _ := s.join()
		slower, _ := s.join()
		active, _ := s.join()
		var received strings.Builder
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				select {
				case p := <-active.pieces:
					received.Write(p.bytes)
				case <-s.over:
					received.WriteString(drained(active))
					return
				}
			}
		})
		began := time.Now()
		var want strings.Builder
		for i := range 3 * readerPieces {
			s.spread(session.Stdout, fmt.Appendf(nil, "line %d\n", i), outputHold)
			fmt.Fprintf(&want, "line %d\n", i)
		}
		if held := time.Since(began); held != outputHold {
			t.Errorf("two clients that read nothing block the container for %v, want %v for both together", held, outputHold)
		}
		s.close()
		reading.Wait()
		if received.String() != want.String() || wasCut(active) {
			t.Errorf("a client that reads gets %q", received.String())
		}
		for _, r := range []*reader{slow, slower} {
			if got := drained(r); !wasCut(r) || !strings.HasPrefix(want.String(), got) || strings.Count(got, "\n") != readerPieces {
				t.Errorf("a client that does not read is disconnected (%v) after %q", wasCut(r), got)
			}
		}
	})
}

func TestASlowClientIsNotDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStdio()
		r, _ := s.join()
		go func() {
			for range 3 * readerPieces {
				s.spread(session.Stdout, []byte("x"), outputHold)
			}
			s.close()
		}()
		received := 0
		for range 3 * readerPieces {
			time.Sleep(outputHold - time.Second)
			synctest.Wait()
			received += len((<-r.pieces).bytes)
		}
		if received != 3*readerPieces || wasCut(r) {
			t.Errorf("the client received %d of %d bytes; disconnected is %v", received, 3*readerPieces, wasCut(r))
		}
	})
}

func TestAClientThatDetachesDoesNotBlockAContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStdio()
		r, _ := s.join()
		go func() {
			time.Sleep(time.Second)
			s.leave(r)
		}()
		began := time.Now()
		for range 3 * readerPieces {
			s.spread(session.Stdout, []byte("x"), outputHold)
		}
		if held := time.Since(began); held != time.Second {
			t.Errorf("blocked for %v", held)
		}
	})
}

// Whenever a client attaches, it receives the backlog and the later output without a gap. If the
// backlog is full, the earliest output is missing.
func TestThereIsNoGapBetweenBacklogAndLaterOutput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newStdio()
		sizes := rapid.SliceOfN(rapid.IntRange(1, 3*backlogPiece), 1, 40).Draw(t, "sizes")
		at := rapid.IntRange(0, len(sizes)).Draw(t, "joins")
		var all, got []byte
		noted := 0
		var r *reader
		join := func() {
			var before []piece
			r, before = s.join()
			total := 0
			for i, p := range before {
				var lost int
				if n, _ := fmt.Sscanf(string(p.bytes), "[%d earlier bytes", &lost); i == 0 && n == 1 {
					noted = lost
					continue
				}
				got = append(got, p.bytes...)
				total += len(p.bytes)
			}
			if total > backlogBytes || total < min(len(all), backlogBytes-backlogPiece) {
				t.Fatalf("the backlog has %d bytes of %d", total, len(all))
			}
		}
		for i, n := range sizes {
			if i == at {
				join()
			}
			out := bytes.Repeat([]byte{byte('a' + i%26)}, n)
			all = append(all, out...)
			s.spread([]session.Kind{session.Stdout, session.Stderr}[n%2], out, 0)
			clear(out) // the caller's buffer is reused
			if r != nil {
				got = append(got, drained(r)...)
			}
		}
		if r == nil {
			join()
		}
		if !bytes.HasSuffix(all, got) || len(all)-len(got) != noted {
			t.Fatalf("the client received %d bytes, which are not the end of all %d; the backlog's note counts %d missing bytes", len(got), len(all), noted)
		}
	})
}

// ends creates a stream and returns both ends. The end near is the guest's.
func ends(t *testing.T) (near, far session.Conn) {
	t.Helper()
	a, b := net.Pipe()
	near, far = session.NewStream(a), session.NewStream(b)
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

func TestInputWaitsForARunAndEndsWithIt(t *testing.T) {
	t.Parallel()
	s := newStdio()
	near, _ := ends(t)
	begin := func() (*runIO, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		run := &runIO{input: w}
		s.begin(run)
		return run, r
	}
	wrote := make(chan bool, 1)
	write := func(p []byte) { go func() { wrote <- s.write(near, p) }() }
	write([]byte("early"))
	run, r := begin()
	buf := make([]byte, 5)
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != "early" || !<-wrote {
		t.Fatalf("the run reads %q, %v", buf, err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // more than a pipe can hold
	write(big)
	if got, err := io.ReadAll(io.LimitReader(r, int64(len(big)))); err != nil || !bytes.Equal(got, big) || !<-wrote {
		t.Fatalf("received %d of %d bytes: %v", len(got), len(big), err)
	}
	write(big) // the run reads only a part
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	s.end(run)
	if !<-wrote {
		t.Error("the client's stream ended with the run")
	}
	run, r = begin()
	s.endInput()
	if !s.inputEnded() || !s.write(near, []byte("too late")) {
		t.Error("input continues after its end")
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Errorf("the run reads %q, %v after the end", got, err)
	}
	s.end(run)
	write([]byte("not read"))
	s.close()
	if !<-wrote {
		t.Error("the stream ended because its input was not read")
	}
}

func TestADisconnectIsDetectedWhileInputIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStdio()
		near, far := ends(t)
		wrote := make(chan bool)
		go func() { wrote <- s.write(near, []byte("x")) }()
		for range 3 { // keepalives
			if f, err := far.Receive(); err != nil || f.Kind != session.Stdout || len(f.Payload) != 0 {
				t.Fatalf("%+v, %v", f, err)
			}
		}
		_ = far.Close()
		if <-wrote {
			t.Error("write does not report that the client has disconnected")
		}
	})
}

func TestAnAttachSessionEndsWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, spec := newFakePod(guest.RestartNever, map[string][]fakeRun{"a": {{ends: exit{code: 4, signal: 1}}}}, "a")
		mustStart(t, p, spec)
		s := p.stdio["a"]
		s.spread(session.Stderr, []byte("before"), outputHold)
		begin := func(a guest.Attach) (far session.Conn, ended chan error) {
			near, far := ends(t)
			ended = make(chan error, 1)
			a.Container = "a"
			go func() { ended <- p.Attach(t.Context(), a, func() (session.Conn, error) { return near, nil }) }()
			synctest.Wait()
			return far, ended
		}
		expect := func(conn session.Conn, kind session.Kind, text string) {
			t.Helper()
			if f, err := conn.Receive(); err != nil || f.Kind != kind || string(f.Payload) != text {
				t.Fatalf("got %d %q, %v; want %q", f.Kind, f.Payload, err, text)
			}
		}
		active, activeEnds := begin(guest.Attach{Backlog: true})
		expect(active, session.Stderr, "before")
		_, idleEnds := begin(guest.Attach{})
		leaves, leavesEnds := begin(guest.Attach{})
		_ = leaves.Close()
		if err := <-leavesEnds; err != nil {
			t.Errorf("a client that detaches: %v", err)
		}
		idle := s.readers[1]
		for range readerPieces + 2 { // one more piece is in the channel
			s.spread(session.Stdout, []byte("x"), outputHold)
			expect(active, session.Stdout, "x")
		}
		if !wasCut(idle) || len(s.readers) != 1 {
			t.Errorf("a client that reads nothing: disconnected is %v, and there are %d clients", wasCut(idle), len(s.readers))
		}
		go p.Stop(time.Minute)
		expect(active, session.Exit, `{"code":4,"signal":1}`)
		if err := <-activeEnds; err != nil {
			t.Errorf("a client that has read everything: %v", err)
		}
		select {
		case err := <-idleEnds:
			t.Errorf("a client that read nothing continues: %v", err)
		default:
		}
		<-m.off
		for _, a := range []guest.Attach{{Container: "a"}, {Container: "b"}} {
			var refused *guest.CallError
			if err := p.Attach(t.Context(), a, nil); !errors.As(err, &refused) {
				t.Errorf("%+v: %v", a, err)
			}
		}
	})
}
