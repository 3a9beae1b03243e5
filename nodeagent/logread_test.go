// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/guest"
)

func entry(seq uint64, text string) guest.LogEntry {
	return guest.LogEntry{Seq: seq, Time: time.Unix(int64(seq), 0), Stream: guest.Stdout, Line: []byte(text)}
}

func read(t *testing.T, log *containerLog, tail int) string {
	t.Helper()
	return readSome(t, log, selection{tail: tail}, false)
}

func readSome(t *testing.T, log *containerLog, what selection, follow bool) string {
	t.Helper()
	rec := httptest.NewRecorder()
	if err := streamLog(t.Context(), log, what, follow, lineWriter{w: rec, c: http.NewResponseController(deadlines{rec})}); err != nil {
		t.Fatal(err)
	}
	return rec.Body.String()
}

// deadlines adds write deadlines to a recorder, which has none.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

func TestALogIsReadCompletelyAndByItsTail(t *testing.T) {
	t.Parallel()
	log := newContainerLog(filepath.Join(t.TempDir(), "logs", "c.jsonl"), maxLogFile)
	defer log.close()
	if got := read(t, log, -1); got != "" {
		t.Errorf("a log that does not exist yet reads %q", got)
	}
	for i := range uint64(5) {
		if _, err := log.append("boot", entry(i+1, fmt.Sprintf("line %d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	for tail, want := range map[int]string{
		-1: "line 1\nline 2\nline 3\nline 4\nline 5\n", 0: "", 2: "line 4\nline 5\n", 5: "line 1\nline 2\nline 3\nline 4\nline 5\n",
		9: "line 1\nline 2\nline 3\nline 4\nline 5\n",
	} {
		if got := read(t, log, tail); got != want {
			t.Errorf("tail %d reads %q, want %q", tail, got, want)
		}
	}
}

func TestALogContinuesAtItsPositionAfterACrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "c.jsonl")
	log := newContainerLog(path, maxLogFile)
	for i := range uint64(3) {
		if _, err := log.append("boot", entry(i+1, string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	// The crash truncated a line.
	if _, err := log.file.WriteString(`{"time":"2026`); err != nil {
		t.Fatal(err)
	}
	log.close()
	again := newContainerLog(path, maxLogFile)
	defer again.close()
	if seq, err := again.bookmark("boot"); err != nil || seq != 3 {
		t.Errorf("the position is %d (%v), want 3", seq, err)
	}
	if seq, err := again.bookmark("another boot"); err != nil || seq != 0 {
		t.Errorf("the position of another boot is %d (%v), want 0", seq, err)
	}
	if _, err := again.append("boot", entry(4, "y")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, again, -1); got != "a\nb\nc\ny\n" {
		t.Errorf("the log reads %q", got)
	}
}

func TestALogIsLimitedAndReadersFollowAcrossARotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "c.jsonl")
	log := newContainerLog(path, maxLogFile)
	defer log.close()
	r := logReader{path: path}
	defer r.close() //nolint:errcheck // only opened for reading
	line := strings.Repeat("x", 15<<10)
	var next uint64
	for seq := uint64(1); seq <= 2000; seq++ {
		if _, err := log.append("boot", entry(seq, line)); err != nil {
			t.Fatal(err)
		}
		if seq%100 != 0 {
			continue
		}
		err := r.next(func(l logLine) error {
			if next++; l.Seq != next {
				return fmt.Errorf("line %d, want %d", l.Seq, next)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if next != 2000 {
		t.Errorf("the reader has %d lines of 2000", next)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 2 {
		t.Errorf("the files are %v (%v), want two", files, err)
	}
	var buf bytes.Buffer
	if buf.WriteString(read(t, log, 1)); buf.Len() != len(line)+1 {
		t.Errorf("the last line has %d bytes", buf.Len())
	}
}

func TestAReaderContinuesAfterItsCursor(t *testing.T) {
	t.Parallel()
	log := newContainerLog(filepath.Join(t.TempDir(), "logs", "c.jsonl"), maxLogFile)
	defer log.close()
	for i, boot := range []string{"one", "one", "two", "two"} {
		if _, err := log.append(boot, entry(uint64(i%2+1), fmt.Sprintf("%s %d", boot, i%2+1))); err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range map[string]string{
		"one.1": "one 2\ntwo 1\ntwo 2\n", "one.2": "two 1\ntwo 2\n", "one.9": "two 1\ntwo 2\n", "two.1": "two 2\n", "two.2": "",
		"rotated-away.7": "one 1\none 2\ntwo 1\ntwo 2\n",
	} {
		c, err := parseCursor(after)
		if err != nil || c.String() != after {
			t.Fatalf("cursor %s: %v %v", after, c, err)
		}
		if got := readSome(t, log, selection{tail: -1, after: c}, false); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
	if got := readSome(t, log, selection{tail: -1, since: time.Unix(2, 0)}, false); got != "one 2\ntwo 2\n" {
		t.Errorf("since the second second: %q", got)
	}
	for _, bad := range []string{"", "x", "x.", ".1", "x.y", "x.-1"} {
		if c, err := parseCursor(bad); err == nil {
			t.Errorf("%q is accepted as cursor %v", bad, c)
		}
	}
}

func TestAFollowedLogEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	log := newContainerLog(filepath.Join(t.TempDir(), "logs", "c.jsonl"), maxLogFile)
	defer log.close()
	log.begin()
	read := make(chan string, 1)
	go func() { read <- readSome(t, log, selection{tail: -1}, true) }()
	if _, err := log.append("boot", entry(1, "a")); err != nil {
		t.Fatal(err)
	}
	log.finished()
	if got := <-read; got != "a\n" {
		t.Errorf("the log reads %q", got)
	}
	log.begin() // as when the machine is started again
	if ended, _ := log.state(); ended {
		t.Error("the log has ended although its machine was started again")
	}
}
