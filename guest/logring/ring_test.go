// SPDX-License-Identifier: Apache-2.0

package logring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"husk/guest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never and minute are how long a writer waits without a follower.
func never() time.Duration  { return 0 }
func minute() time.Duration { return time.Minute }

func collect(r *Ring, after uint64, follow bool) (got []guest.LogEntry, err error) {
	err = r.CopyTo(context.Background(), after, follow, func(e []guest.LogEntry) error {
		got = append(got, e...)
		return nil
	})
	return got, err
}

func output(n int) guest.LogEntry {
	return guest.LogEntry{Stream: guest.Stdout, Bytes: make([]byte, n)}
}

func TestPositionsShowWhatARingHasDropped(t *testing.T) {
	t.Parallel()
	r := New()
	const size = ringBytes/8 - entryOverhead
	for range 20 {
		r.Add(output(size), never)
	}
	got, err := collect(r, 2*size, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 8 || got[0].Start() != 12*size || got[7].Seq != 20*size {
		t.Errorf("%d entries from %d to %d; want 8 from %d to %d", len(got), got[0].Start(), got[len(got)-1].Seq, 12*size, 20*size)
	}
}

func TestAWriterWaitsForTheFollowerAsForAPipe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New()
		const pieces, size = 5000, 1000
		ctx, leave := context.WithCancel(t.Context())
		read := uint64(0)
		done := make(chan error)
		go func() {
			done <- r.CopyTo(ctx, 0, true, func(entries []guest.LogEntry) error {
				time.Sleep(10 * time.Minute) // much longer than a writer waits without a follower
				for _, e := range entries {
					if e.Start() != read {
						return fmt.Errorf("a piece begins at %d after %d", e.Start(), read)
					}
					read = e.Seq
				}
				return nil
			})
		}()
		synctest.Wait()
		for range pieces {
			r.Add(output(size), minute)
		}
		r.Close()
		if err := <-done; err != nil || read != pieces*size {
			t.Errorf("the follower got %d bytes of %d: %v", read, pieces*size, err)
		}
		leave()
	})
}

func TestAFollowerThatComesBackMissesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New()
		const pieces, size = 3000, 1000
		go func() {
			for range pieces {
				r.Add(output(size), minute)
			}
			r.Close()
		}()
		stored := uint64(0)
		for stored < pieces*size {
			// It is given more than it stores: the rest was in the channel when it ended.
			given := 0
			gone := errors.New("gone")
			err := r.CopyTo(t.Context(), stored, true, func(entries []guest.LogEntry) error {
				for _, e := range entries {
					if given == 0 && e.Start() != stored {
						t.Fatalf("the first piece begins at %d, want %d", e.Start(), stored)
					}
					if given += cost(e); given < inFlight/2 {
						stored = e.Seq
					}
				}
				if given > inFlight {
					return gone
				}
				return nil
			})
			if err == nil {
				break // the rest was stored
			}
			if stored%size != 0 || !errors.Is(err, gone) {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
	})
}

func TestAWriterDoesNotWaitForeverForAFollowerThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New()
		begin := time.Now()
		for range 3 * ringBytes / 1000 {
			r.Add(output(1000), minute)
		}
		if took := time.Since(begin); took < time.Minute || took > time.Minute+2*look {
			t.Errorf("the writer was blocked for %s, want a minute once", took)
		}
	})
}

func TestRingKeepsOrderAndBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := New()
		var written, read uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") {
				n := rapid.IntRange(1, ringBytes/4).Draw(t, "size")
				r.Add(output(n), never)
				written += uint64(n)
				continue
			}
			got, err := collect(r, read, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				if e.Start() < read {
					t.Fatalf("an entry from %d after %d", e.Start(), read)
				}
				read = e.Seq
			}
			if read != written {
				t.Fatalf("read up to %d of %d", read, written)
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
	r.Add(output(1), never)
	r.Add(output(1), never)
	r.Close()
	if n := <-done; n != 2 || !r.Drained() {
		t.Errorf("followed %d entries; want 2, and then nothing is left", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New().CopyTo(ctx, 0, true, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want cancelled", err)
	}
}

func TestOutputIsCopiedByteForByte(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", guest.MaxLogPiece)
	runes := "xx" + strings.Repeat("€", guest.MaxLogPiece) // the limit is within a character
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a\nb\n", []string{"a\nb\n"}},
		{"\n\nend", []string{"\n\n", "end"}},
		{"\xff\x00\xfe\n\x80", []string{"\xff\x00\xfe\n", "\x80"}},
		{long + "yz\nnext\n", []string{long, "yz\nnext\n"}},
		{long + long, []string{long, long}},
		{runes, []string{runes[:guest.MaxLogPiece-(guest.MaxLogPiece-2)%3], ""}},
		{strings.Repeat("\x80", guest.MaxLogPiece+1), []string{strings.Repeat("\x80", guest.MaxLogPiece), "\x80"}},
	} {
		for _, oneByOne := range []bool{false, true} {
			r := New()
			in := iotest.DataErrReader(strings.NewReader(tt.in))
			if oneByOne {
				in = iotest.OneByteReader(strings.NewReader(tt.in))
			}
			Copy(r, guest.Stdout, in, false, never)
			var got []string
			all := ""
			entries, _ := collect(r, 0, false)
			for _, e := range entries {
				got = append(got, string(e.Bytes))
				all += string(e.Bytes)
			}
			if all != tt.in {
				t.Errorf("%.20q was changed", tt.in)
			}
			switch {
			case len(tt.want) > 0 && tt.want[len(tt.want)-1] == "": // only the first piece matters
				got, tt.want = got[:1], tt.want[:1]
			case oneByOne: // each line comes in its own piece
				continue
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pieces of %.20q (-want +got):\n%s", tt.in, diff)
			}
		}
	}
}

func TestLinesOfATerminalAreLoggedWithoutCarriageReturns(t *testing.T) {
	t.Parallel()
	r := New()
	in := strings.Repeat("x", guest.MaxLogPiece-1) + "\r\none\r\ntwo\rthree\r\n$ "
	Copy(r, guest.Stdout, strings.NewReader(in), true, never)
	got, _ := r.read(0)
	all := ""
	for _, e := range got {
		all += string(e.Bytes)
	}
	if want := strings.Repeat("x", guest.MaxLogPiece-1) + "\none\ntwo\rthree\n$ "; all != want {
		t.Errorf("the log has %d bytes %.40q, want %d", len(all), all[max(0, len(all)-40):], len(want))
	}
}
