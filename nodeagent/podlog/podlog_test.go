// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"husk/guest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// response collects lines as a client gets them.
type response struct {
	Writer
	buf bytes.Buffer
}

func newResponse() *response {
	r := &response{}
	r.W = &r.buf
	return r
}

func (r *response) Write(l Line) error { return r.Line(l) }
func (r *response) Flush() error       { return nil }

func read(t *testing.T, log *Log, want Selection, follow bool) string {
	t.Helper()
	r := newResponse()
	if err := log.Stream(t.Context(), want, follow, r); err != nil {
		t.Fatal(err)
	}
	return r.buf.String()
}

var everything = Selection{Tail: -1}

// put appends a piece of output that ends at a position.
func put(t *testing.T, log *Log, boot string, end int, text string) {
	t.Helper()
	e := guest.LogEntry{Seq: uint64(end), Time: time.Unix(int64(end), 0), Stream: guest.Stdout, Bytes: []byte(text)}
	if _, err := log.Append(boot, e); err != nil {
		t.Fatal(err)
	}
}

func newTestLog(t *testing.T, limit int64) *Log {
	log := New(filepath.Join(t.TempDir(), "logs"), "c", limit)
	t.Cleanup(log.Close)
	return log
}

func TestALogIsReadCompletelyAndByItsTail(t *testing.T) {
	t.Parallel()
	log := newTestLog(t, MaxFile)
	if got := read(t, log, everything, false); got != "" {
		t.Errorf("a log that does not exist yet reads %q", got)
	}
	put(t, log, "boot", 8, "1\n2\n3\n4\n")
	put(t, log, "boot", 9, "5")
	put(t, log, "boot", 12, "x\n6")
	for tail, want := range map[int]string{
		-1: "1\n2\n3\n4\n5x\n6", 0: "", 1: "6", 2: "5x\n6", 3: "4\n5x\n6", 6: "1\n2\n3\n4\n5x\n6", 9: "1\n2\n3\n4\n5x\n6",
	} {
		if got := read(t, log, Selection{Tail: tail}, false); got != want {
			t.Errorf("tail %d reads %q, want %q", tail, got, want)
		}
	}
}

func TestALogKeepsEveryByte(t *testing.T) {
	t.Parallel()
	log := newTestLog(t, MaxFile)
	random := rand.NewChaCha8([32]byte{1})
	want, got := sha256.New(), sha256.New()
	at := 0
	for range 300 {
		p := make([]byte, 1+rand.IntN(guest.MaxLogPiece))
		random.Read(p) //nolint:errcheck // never fails
		want.Write(p)
		at += len(p)
		put(t, log, "boot", at, string(p))
	}
	got.Write([]byte(read(t, log, everything, false)))
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("the text is not what the container has written")
	}
	r := newResponse()
	r.JSON = true
	if err := log.Stream(t.Context(), everything, false, r); err != nil {
		t.Fatal(err)
	}
	got.Reset()
	for d := json.NewDecoder(&r.buf); d.More(); {
		var l jsonLine
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		p := []byte(l.Line)
		if l.Bytes != nil {
			p = l.Bytes
		}
		if got.Write(p); !l.Partial {
			got.Write([]byte("\n"))
		}
	}
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("the JSON lines are not what the container has written")
	}
}

func TestALogContinuesAtItsPositionAfterACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := New(dir, "c", MaxFile)
	put(t, log, "boot", 2, "a\n")
	put(t, log, "boot", 4, "b\n")
	if _, err := log.file.WriteString("\x00\x00\x00\x20trunc"); err != nil {
		t.Fatal(err)
	}
	log.Close()
	again := New(dir, "c", MaxFile)
	defer again.Close()
	if at, err := again.Bookmark("boot"); err != nil || at != 4 {
		t.Errorf("the position is %d (%v), want 4", at, err)
	}
	if at, err := again.Bookmark("another boot"); err != nil || at != 0 {
		t.Errorf("the position of another boot is %d (%v), want 0", at, err)
	}
	put(t, again, "boot", 6, "y\n")
	if got := read(t, again, everything, false); got != "a\nb\ny\n" {
		t.Errorf("the log reads %q", got)
	}
}

func TestAReaderLearnsWhatIsMissing(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 15<<10) + "\n"
	log := newTestLog(t, 1<<20)
	r := reader{path: log.path}
	defer r.close() //nolint:errcheck // only opened for reading
	bytesRead, missing := 0, uint64(0)
	s, err := newSplitter(log.path, everything, func(l Line) error {
		bytesRead += len(l.Bytes) + 1
		missing += l.Lost.Bytes
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 2000
	for i := range lines {
		put(t, log, "boot", (i+1)*len(line), line)
		// At first the reader is fast enough, then it reads only after many rotations.
		if i < 500 && i%60 == 0 || i == lines-1 {
			if err := r.next(s.split); err != nil {
				t.Fatal(err)
			}
		}
		if i == 500 && missing > 0 {
			t.Errorf("%d bytes are missing, although at most one rotation was between two reads", missing)
		}
	}
	if missing == 0 || bytesRead+int(missing) != lines*len(line) {
		t.Errorf("the reader got %d bytes and %d are missing, of %d", bytesRead, missing, lines*len(line))
	}
	files, err := filepath.Glob(log.path + "*")
	if err != nil || len(files) != 2 {
		t.Errorf("the files are %v (%v), want two", files, err)
	}
	text := read(t, log, everything, false)
	note, rest, _ := strings.Cut(text, "\n")
	var n int
	if _, err := fmt.Sscanf(note, "[husk: %d bytes of output are missing here]", &n); err != nil || n+len(rest) != lines*len(line) {
		t.Errorf("the text begins with %.80q and has %d bytes more", note, len(rest))
	}
	if got := read(t, log, Selection{Tail: 1}, false); got != line {
		t.Errorf("the last line has %d bytes", len(got))
	}
	put(t, log, "boot", lines*len(line)+100, "end\n")
	if got := read(t, log, Selection{Tail: 1}, false); got != "[husk: 96 bytes of output are missing here]\nend\n" {
		t.Errorf("the last line is %q", got)
	}
}

func TestAReaderContinuesAfterItsCursor(t *testing.T) {
	t.Parallel()
	log := newTestLog(t, MaxFile)
	put(t, log, "one", 6, "a\nb\nc\n")
	put(t, log, "one", 8, "d\n")
	put(t, log, "two", 2, "e\n")
	put(t, log, "two", 9, "f\n") // five bytes are missing before it
	for after, want := range map[string]string{
		"one.0": "a\nb\nc\nd\ne\n", "one.2": "b\nc\nd\ne\n", "one.6": "d\ne\n", "one.8": "e\n", "one.99": "e\n", "two.2": "",
		"rotated-away.7": "a\nb\nc\nd\ne\n",
	} {
		c, err := ParseCursor(after)
		if err != nil || c.String() != after {
			t.Fatalf("cursor %s: %v %v", after, c, err)
		}
		want += "[husk: 5 bytes of output are missing here]\nf\n"
		if got := read(t, log, Selection{Tail: -1, After: c}, false); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
	if got := read(t, log, Selection{Tail: -1, Since: time.Unix(8, 0)}, false); got != "d\n[husk: 5 bytes of output are missing here]\nf\n" {
		t.Errorf("since the eighth second: %q", got)
	}
	for _, bad := range []string{"", "x", "x.", ".1", "x.y", "x.-1"} {
		if c, err := ParseCursor(bad); err == nil {
			t.Errorf("%q is accepted as cursor %v", bad, c)
		}
	}
}

func TestAFollowedLogEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	log := newTestLog(t, MaxFile)
	log.Begin()
	text := make(chan string, 1)
	go func() { text <- read(t, log, everything, true) }()
	put(t, log, "boot", 2, "a\n")
	log.Finished()
	if got := <-text; got != "a\n" {
		t.Errorf("the log reads %q", got)
	}
	log.Begin() // as when the machine is started again
	if ended, _ := log.state(); ended {
		t.Error("the log has ended although its machine was started again")
	}
}

func TestALogOfThePreviousVersionIsConverted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"c.jsonl.1": `{"time":"2026-03-02T09:00:00Z","stream":"stdout","line":"a","boot":"b","seq":7}` + "\n",
		"c.jsonl": `{"time":"2026-03-02T09:00:01Z","stream":"stderr","line":"b","partial":true,"boot":"b","seq":8}` + "\n" +
			`{"time":"2026-03-02T09:00:02Z","stream":"stderr","line":"c","dropped":3,"boot":"b","seq":12}` + "\n" + `{"time":"2026`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := New(dir, "c", MaxFile)
	defer log.Close()
	if at, err := log.Bookmark("b"); err != nil || at != 12 {
		t.Errorf("the position is %d (%v), want 12", at, err)
	}
	if _, err := log.Append("b", guest.LogEntry{Seq: 13, Lines: true, Stream: guest.Stdout, Bytes: []byte("d\n")}); err != nil {
		t.Fatal(err)
	}
	want := "[husk: 6 lines of output are missing here]\na\nb\n[husk: 3 lines of output are missing here]\nc\nd\n"
	if got := read(t, log, everything, false); got != want {
		t.Errorf("the log reads %q, want %q", got, want)
	}
	if c, _ := ParseCursor("b.8"); read(t, log, Selection{Tail: -1, After: c}, false) != "[husk: 3 lines of output are missing here]\nc\nd\n" {
		t.Error("a cursor of the previous version does not work")
	}
}

func TestTheLogsOfAPodHaveALimitForAnyNumberOfContainers(t *testing.T) {
	t.Parallel()
	for containers := range 17 {
		if limit := FileLimit(containers); limit < 1<<20 || limit > MaxFile || 2*limit*int64(containers) > MaxPod {
			t.Errorf("each of the two files of each of %d containers has at most %d bytes", containers, limit)
		}
	}
}

func FuzzAFileOfAnyContentIsRead(f *testing.F) {
	r := record{boot: "b", end: 3, bytes: []byte("abc")}
	f.Add(r.append(nil))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "c.log"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		log := New(dir, "c", MaxFile)
		defer log.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_ = log.Stream(ctx, everything, false, newResponse()) //nolint:errcheck // an error is allowed
		if _, err := log.Bookmark("b"); err != nil {
			t.Error(err)
		}
	})
}
