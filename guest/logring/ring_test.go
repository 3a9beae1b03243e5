// SPDX-License-Identifier: Apache-2.0

package logring

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"husk/guest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func collect(r *Ring, after uint64, follow bool) (got []guest.LogEntry, err error) {
	err = r.CopyTo(context.Background(), after, follow, func(e []guest.LogEntry) error {
		got = append(got, e...)
		return nil
	})
	return got, err
}

func TestRingReportsDroppedEntries(t *testing.T) {
	t.Parallel()
	r := New()
	line := make([]byte, ringBytes/8-entryOverhead)
	for range 20 {
		r.Add(guest.LogEntry{Stream: guest.Stdout, Line: line})
	}
	got, err := collect(r, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 8 || got[0].Seq != 13 || got[0].Dropped != 10 || got[7].Seq != 20 || got[7].Dropped != 0 {
		t.Errorf("%d entries from %d, %d dropped; want 8 from 13, 10 dropped", len(got), got[0].Seq, got[0].Dropped)
	}
}

func TestRingKeepsOrderAndBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := New()
		var next, read uint64 = 1, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") {
				r.Add(guest.LogEntry{Line: make([]byte, rapid.IntRange(0, ringBytes/4).Draw(t, "size"))})
				next++
				continue
			}
			got, err := collect(r, read, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				if e.Seq != read+1+e.Dropped {
					t.Fatalf("entry %d after %d with %d dropped", e.Seq, read, e.Dropped)
				}
				read = e.Seq
			}
			if read != next-1 {
				t.Fatalf("read up to %d of %d", read, next-1)
			}
		}
		if r.bytes > ringBytes {
			t.Fatalf("%d bytes kept", r.bytes)
		}
	})
}

func TestFollowersEndWithTheContainer(t *testing.T) {
	t.Parallel()
	r := New()
	done := make(chan int)
	go func() {
		got, _ := collect(r, 0, true)
		done <- len(got)
	}()
	r.Add(guest.LogEntry{})
	r.Add(guest.LogEntry{})
	r.Close()
	if n := <-done; n != 2 {
		t.Errorf("followed %d entries; want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New().CopyTo(ctx, 0, true, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want cancelled", err)
	}
}

func TestOutputIsSplitIntoLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", guest.MaxLogLine)
	for _, tt := range []struct {
		in   string
		want []string // a trailing + marks a partial line
	}{
		{"", nil},
		{"a\nb\n", []string{"a", "b"}},
		{"\n\nend", []string{"", "", "end"}},
		{long + "yz\nnext\n", []string{long + "+", "yz", "next"}},
		{long + long, []string{long + "+", long + "+"}},
	} {
		for _, oneByOne := range []bool{false, true} {
			r := New()
			in := iotest.DataErrReader(strings.NewReader(tt.in))
			if oneByOne {
				in = iotest.OneByteReader(strings.NewReader(tt.in))
			}
			CopyLines(r, guest.Stdout, in, false)
			var got []string
			entries, _ := collect(r, 0, false)
			for _, e := range entries {
				line := string(e.Line)
				if e.Partial {
					line += "+"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines of %.20q (-want +got):\n%s", tt.in, diff)
			}
		}
	}
}

func TestLinesOfATerminalAreLoggedWithoutCarriageReturns(t *testing.T) {
	t.Parallel()
	r := New()
	CopyLines(r, guest.Stdout, strings.NewReader("one\r\ntwo\rthree\r\n$ "), true)
	got, _ := r.read(0)
	var lines []string
	for _, e := range got {
		lines = append(lines, string(e.Line))
	}
	if want := "one|two\rthree|$ "; strings.Join(lines, "|") != want {
		t.Errorf("the log has %q, want %q", strings.Join(lines, "|"), want)
	}
}
