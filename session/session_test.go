// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe returns the two ends of a session over a stream in memory.
func pipe() (*Stream, *Stream) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return NewStream(duplex{r1, w2}), NewStream(duplex{r2, w1})
}

type duplex struct {
	*io.PipeReader
	*io.PipeWriter
}

func (d duplex) Close() error { return errors.Join(d.PipeReader.Close(), d.PipeWriter.Close()) }

func TestFramesArriveAsSent(t *testing.T) {
	t.Parallel()
	a, b := pipe()
	defer a.Close()
	defer b.Close()
	sent := []Frame{{Stdin, []byte("x")}, {EOF, nil}, {Stdout, bytes.Repeat([]byte("y"), MaxPayload)}, {Resize, []byte(`{"cols":80,"rows":24}`)}}
	go func() {
		for _, f := range sent {
			if err := a.Send(f.Kind, f.Payload); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, want := range sent {
		got, err := b.Receive()
		if err != nil || got.Kind != want.Kind || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("received kind %d with %d bytes, %v; want kind %d with %d", got.Kind, len(got.Payload), err, want.Kind, len(want.Payload))
		}
	}
	if err := a.Send(Stdin, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a frame above the limit: %v", err)
	}
}

func TestFramesThatBreakTheProtocolAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"\x08\x00\x00\x00\x00": ErrKind, "\x00\x00\x01\x00\x01": ErrTooLarge, "\x00\xff\xff\xff\xff": ErrTooLarge,
		"\x00\x00\x00\x00\x02x": io.ErrUnexpectedEOF, "\x00\x00": io.ErrUnexpectedEOF, "": io.EOF,
	} {
		s := NewStream(readOnly{strings.NewReader(text)})
		if f, err := s.Receive(); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %v", text, f, err, want)
		}
	}
	for text, want := range map[string]error{"": ErrEmpty, "\x08": ErrKind, strings.Repeat("\x00", MaxPayload+2): ErrTooLarge} {
		if f, err := Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.10q: %+v, %v; want %v", text, f, err, want)
		}
	}
	if _, err := ParseStatus([]byte(`{"code":256}`)); err == nil {
		t.Error("an exit code of 256 is accepted")
	}
	f, err := ParseFault([]byte(`{"code":"x","detail":"` + strings.Repeat("ä", MaxDetail) + `"}`))
	if err != nil || len(f.Detail) > MaxDetail || strings.ContainsRune(f.Detail, '\uFFFD') {
		t.Errorf("a long detail: %d bytes, %v", len(f.Detail), err)
	}
}

type readOnly struct{ io.Reader }

func (readOnly) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (readOnly) Close() error              { return nil }

// relayed is a relay between two pipes, and the far ends of both pipes.
type relayed struct {
	client, pod Conn // the far ends
	ended       chan error
	gone        chan (<-chan struct{})
}

func relay(t *testing.T) relayed {
	t.Helper()
	client, c := pipe()
	pod, p := pipe()
	r := relayed{client, pod, make(chan error, 1), make(chan (<-chan struct{}), 1)}
	go func() {
		gone, err := Relay(c, p, func() {})
		_ = p.Close()
		r.gone <- gone
		r.ended <- err
	}()
	t.Cleanup(func() {
		for _, conn := range []Conn{client, c, pod, p} {
			_ = conn.Close()
		}
	})
	return r
}

func (r relayed) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the relay continues")
		return nil
	}
}

func TestRelayPassesFramesUntilTheEnd(t *testing.T) {
	t.Parallel()
	r := relay(t)
	go func() { _ = r.client.Send(Stdin, []byte("in")) }()
	if f, err := r.pod.Receive(); err != nil || string(f.Payload) != "in" {
		t.Errorf("the pod receives %+v, %v", f, err)
	}
	go func() { _ = SendExit(r.pod, Status{Code: 3}) }()
	f, err := r.client.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ParseStatus(f.Payload); f.Kind != Exit || err != nil || s.Code != 3 {
		t.Errorf("the client receives %+v, %v", f, err)
	}
	if err := r.end(t); err != nil {
		t.Errorf("the relay ends with %v", err)
	}
	gone := <-r.gone
	if err := r.client.Send(Stdin, []byte("not read")); err != nil { // the pod does not read it, but the client must not block
		t.Error(err)
	}
	select {
	case <-gone:
		t.Error("the client is reported as gone, but is still there")
	default:
	}
	_ = r.client.Close()
	<-gone
}

func TestRelaySaysWhoDisconnected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(relayed)
		want error
	}{
		"the client":                  {func(r relayed) { _ = r.client.Close() }, ErrClientGone},
		"the pod":                     {func(r relayed) { _ = r.pod.Close() }, ErrPodGone},
		"a client that sends an exit": {func(r relayed) { go func() { _ = SendExit(r.client, Status{}) }() }, ErrClientGone},
		"a pod that sends a resize":   {func(r relayed) { go func() { _ = SendSize(r.pod, Size{80, 24}) }() }, ErrPodGone},
		"a client that sends a frame of an unknown kind": {func(r relayed) { go func() { _ = r.client.Send(99, nil) }() }, ErrClientGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := relay(t)
			c.do(r)
			if err := r.end(t); !errors.Is(err, c.want) {
				t.Errorf("the relay ends with %v, want %v", err, c.want)
			}
		})
	}
}

// A pod that no longer accepts input may still report how it ended.
func TestRelayDeliversTheLastFrameOfAPod(t *testing.T) {
	t.Parallel()
	client, c := pipe()
	pod := &deaf{last: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { _, err := Relay(c, pod, func() {}); ended <- err }()
	defer client.Close()
	defer c.Close()
	go func() { _ = client.Send(Stdin, []byte("too late")) }()
	if f, err := client.Receive(); err != nil || f.Kind != Exit {
		t.Errorf("the client receives %+v, %v", f, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the relay ends with %v", err)
	}
}

// deaf refuses all input, and then ends.
type deaf struct{ last chan struct{} }

func (d *deaf) Send(Kind, []byte) error { close(d.last); return io.ErrClosedPipe }
func (d *deaf) Receive() (Frame, error) { <-d.last; return Frame{Exit, []byte(`{"code":0}`)}, nil }
func (*deaf) Close() error              { return nil }

func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01x\x06\x00\x00\x00\x0a{\"code\":1}"))
	f.Add([]byte("\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewStream(readOnly{bytes.NewReader(b)})
		for {
			frame, err := s.Receive()
			if err != nil {
				return
			}
			if frame.Kind > Problem || len(frame.Payload) > MaxPayload {
				t.Fatalf("kind %d with %d bytes", frame.Kind, len(frame.Payload))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x01hello"))
	f.Add([]byte(`x{"cols":1,"rows":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Parse(b)
		if err == nil && (frame.Kind > Problem || len(frame.Payload) != len(b)-1) {
			t.Fatalf("%+v of %d bytes", frame, len(b))
		}
		if s, err := ParseStatus(b); err == nil && (s.Code < 0 || s.Code > 255) {
			t.Errorf("status %+v", s)
		}
		if p, err := ParseFault(b); err == nil && len(p.Detail) > MaxDetail {
			t.Errorf("a detail of %d bytes", len(p.Detail))
		}
		if _, err := ParseSize(b); err == nil && len(b) == 0 {
			t.Error("an empty payload is accepted as a size")
		}
	})
}
