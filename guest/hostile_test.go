// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"husk/limits"
)

// hostileGuest completes the handshake and then calls do, which sends any bytes.
func hostileGuest(t *testing.T, do func(net.Conn)) *Client {
	t.Helper()
	host, guestEnd := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		answerHandshake(guestEnd, ProtocolVersion)
		do(guestEnd)
	}()
	c := dialFake(t, host)
	t.Cleanup(func() {
		c.Close()
		guestEnd.Close()
		<-done
	})
	return c
}

func yamuxFrame(kind byte, flags uint16, stream, length uint32) []byte {
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return binary.BigEndian.AppendUint32(b, length)
}

func TestForbiddenFramesEndTheSession(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string][]byte{
		"opens a stream":  yamuxFrame(1, yamuxFlagSYN, 2, 0),
		"sends with SYN":  yamuxFrame(0, yamuxFlagSYN, 2, 4),
		"pings":           yamuxFrame(yamuxTypePing, yamuxFlagSYN, 0, 1),
		"giant frame":     yamuxFrame(0, 0, 1, 1<<30),
		"unknown type":    yamuxFrame(9, 0, 1, 0),
		"unknown version": append([]byte{7}, yamuxFrame(0, 0, 1, 0)[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := hostileGuest(t, func(conn net.Conn) {
				go io.Copy(io.Discard, conn)
				conn.Write(frame)
			})
			select {
			case <-c.Done():
			case <-time.After(10 * time.Second):
				t.Error("the session continues")
			}
		})
	}
}

// answering returns a guest that speaks yamux and responds to every call with body.
func answering(body func(call string) []byte) func(net.Conn) {
	return func(conn net.Conn) {
		session, err := yamux.Server(conn, yamuxConfig(false))
		if err != nil {
			return
		}
		defer session.Close()
		for {
			stream, err := session.AcceptStream()
			if err != nil {
				return
			}
			go func() {
				defer stream.Close()
				b, err := readFrame(stream, MaxFrame)
				if err != nil {
					return
				}
				var r request
				json.Unmarshal(b, &r)
				stream.Write(body(r.Call))
			}()
		}
	}
}

func frameOf(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestInvalidRepliesAreRefused(t *testing.T) {
	t.Parallel()
	crowd := ""
	for i := range limits.Containers + 1 {
		crowd += fmt.Sprintf(`,{"name":"c%d","state":"running"}`, i)
	}
	many := `{"name":"a","state":"running"},`
	for name, body := range map[string][]byte{
		"giant length":    {0xff, 0xff, 0xff, 0xff},
		"no JSON":         frameOf("\x00\x01"),
		"empty":           frameOf(`{"v":1}`),
		"other version":   frameOf(`{"v":2,"status":{"phase":"running"}}`),
		"unknown phase":   frameOf(`{"v":1,"status":{"phase":"owned"}}`),
		"unknown state":   frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"a","state":"x"}]}}`),
		"bad name":        frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"../a","state":"running"}]}}`),
		"name twice":      frameOf(`{"v":1,"status":{"phase":"running","containers":[` + many + strings.TrimSuffix(many, ",") + `]}}`),
		"huge exit code":  frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"a","state":"exited","exitCode":99999}]}}`),
		"17 containers":   frameOf(`{"v":1,"status":{"phase":"running","containers":[` + crowd[1:] + `]}}`),
		"many restarts":   frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"a","state":"running","restarts":1000000001}]}}`),
		"negative signal": frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"a","state":"exited","signal":-1}]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := hostileGuest(t, answering(func(string) []byte { return body }))
			if s, err := c.WaitStatus(t.Context(), 0, time.Second); err == nil {
				t.Errorf("accepted %+v", s)
			}
		})
	}
}

func TestControlCharactersFromAGuestAreRemoved(t *testing.T) {
	t.Parallel()
	c := hostileGuest(t, answering(func(string) []byte {
		return frameOf(`{"v":1,"error":{"code":"x","message":"\u001b[31mred\n` + strings.Repeat("y", 5000) + `"}}`)
	}))
	_, err := c.Hello(t.Context())
	var refused *CallError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if strings.ContainsAny(refused.Message, "\x1b\n") || len(refused.Message) > maxText {
		t.Errorf("message is %q", refused.Message)
	}
}

func TestALongReasonOfAGuestIsCut(t *testing.T) {
	t.Parallel()
	c := hostileGuest(t, answering(func(string) []byte {
		return frameOf(`{"v":1,"status":{"phase":"running","containers":[{"name":"a","state":"running","reason":"` + strings.Repeat("y", 1000) + `"}]}}`)
	}))
	s, err := c.WaitStatus(t.Context(), 0, time.Second)
	if err != nil || len(s.Containers[0].Reason) != limits.Reason {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestLogEntriesMustBeInOrder(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string]string{
		"lines of a guest of the previous version": `{"seq":5,"stream":"stdout"},{"seq":5,"stream":"stdout"}`,
		"the same bytes twice":                     `{"seq":5,"stream":"stdout","bytes":"YQ=="},{"seq":5,"stream":"stdout","bytes":"YQ=="}`,
		"overlapping bytes":                        `{"seq":5,"stream":"stdout","bytes":"YQ=="},{"seq":6,"stream":"stdout","bytes":"YWE="}`,
		"a position that overflows":                `{"seq":5,"stream":"stdout"},{"seq":18446744073709551615,"stream":"stdout","bytes":"YWE="}`,
	} {
		c := hostileGuest(t, answering(func(string) []byte { return frameOf(`{"v":1,"entries":[` + entries + `]}`) }))
		n := 0
		err := c.Logs(t.Context(), "a", 0, true, func(LogEntry) error { n++; return nil })
		if err == nil || n != 1 {
			t.Errorf("%s: got %d entries, %v; want 1 and an error", name, n, err)
		}
	}
}

func TestLinesOfAGuestOfThePreviousVersionBecomeBytes(t *testing.T) {
	t.Parallel()
	c := hostileGuest(t, answering(func(string) []byte {
		return frameOf(`{"v":1,"end":true,"entries":[{"seq":1,"stream":"stdout","line":"YQ=="},{"seq":2,"stream":"stdout","line":""},{"seq":7,"stream":"stdout","line":"Yg==","partial":true}]}`)
	}))
	got := ""
	err := c.Logs(t.Context(), "a", 0, false, func(e LogEntry) error {
		got += fmt.Sprintf("%d-%d %q ", e.Start(), e.Seq, e.Bytes)
		return nil
	})
	if want := `0-1 "a\n" 1-2 "\n" 6-7 "b" `; got != want || err != nil {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

func TestASilentGuestFailsOnlyTheCall(t *testing.T) {
	t.Parallel()
	c := hostileGuest(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Hello(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want the context's deadline", err)
	}
}

func TestAFloodOfFramesIsSlowedDown(t *testing.T) {
	t.Parallel()
	var sent int
	flooded := make(chan struct{})
	c := hostileGuest(t, func(conn net.Conn) {
		defer close(flooded)
		go io.Copy(io.Discard, conn)
		frame := yamuxFrame(1, 0, 99, 0) // for a stream that does not exist
		chunk := []byte(strings.Repeat(string(frame), 1000))
		conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			n, err := conn.Write(chunk)
			sent += n / yamuxHeader
			if err != nil {
				return
			}
		}
	})
	<-flooded
	if limit := 2 * (inboundBurst + inboundRate) / frameCost; sent > limit {
		t.Errorf("the host took %d frames in half a second; want at most %d", sent, limit)
	}
	c.Close()
}

func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte(`{"v":1,"hello":{"protocol":1,"bootID":"b"}}`))
	f.Add([]byte(`{"v":1,"status":{"revision":1,"phase":"running","containers":[{"name":"a","state":"exited","exitCode":1,"lastExitCode":1}]}}`))
	f.Add([]byte(`{"v":1,"entries":[{"seq":1,"time":"2026-01-02T03:04:05Z","stream":"stdout","line":"aGVsbG8="}],"end":true}`))
	f.Add([]byte(`{"v":1,"error":{"code":"invalid","message":"no"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReply(body)
		if err != nil {
			return
		}
		if r.Status != nil {
			if len(r.Status.Containers) > maxContainers || len(r.Status.Error) > maxText {
				t.Errorf("exceeds its limits: %+v", r.Status)
			}
		}
		for _, e := range r.Entries {
			if len(e.Line)+len(e.Bytes) > MaxLogPiece {
				t.Errorf("a line of %d bytes", len(e.Line))
			}
		}
		// A reply that was decoded and encoded again is accepted too.
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeReply(again); err != nil {
			t.Errorf("refused after accepting: %v\n%s", err, again)
		}
	})
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(strings.NewReader(string(b)), maxReply)
		if err == nil && len(body) > maxReply {
			t.Errorf("a body of %d bytes", len(body))
		}
	})
}

func FuzzDecodeYamux(f *testing.F) {
	f.Add(append(yamuxFrame(0, 0, 1, 3), "abc"...), 5)
	f.Add(yamuxFrame(1, 1, 2, 0), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) || len(b) > 4096 {
			return
		}
		whole, parts := guard{t: &throttle{}}, guard{t: &throttle{}}
		err := whole.inspect(b)
		err2 := parts.inspect(b[:cut])
		if err2 == nil {
			err2 = parts.inspect(b[cut:])
		}
		if (err == nil) != (err2 == nil) {
			t.Errorf("whole: %v; in two parts: %v", err, err2)
		}
	})
}

func TestTheLargestStatusFitsIntoAFrame(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"\x01", "\xff", "<", `"`, "\n", "\u2028", "😀"} {
		s := Status{Phase: PhaseRunning}
		for i := range limits.Containers {
			s.Containers = append(s.Containers, ContainerStatus{
				Name: fmt.Sprint("c", i), State: StateRunning, Reason: strings.Repeat("x", limits.Reason), Message: Message(strings.Repeat(text, 5000)),
			})
		}
		var frame bytes.Buffer
		if err := writeFrame(&frame, reply{Version: ProtocolVersion, Status: &s}, maxReply); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
