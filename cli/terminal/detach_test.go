// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"husk/client"
)

func TestParseDetachKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "ctrl-],x": "\x1dx", "CTRL-A": "\x01", "~,.": "~.", "": "", "ctrl-@": "\x00"} {
		if got, err := ParseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ctrl-pp", "pq", ",", "a,", "ä", "\x10", " "} {
		if got, err := ParseDetachKeys(text); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestInputIsPassedOnUntilTheDetachKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys       string
		typed      []string
		goes, rest string
		leaves     bool
	}{
		"none of the keys":     {"pq", []string{"hello", "\n"}, "hello\n", "", false},
		"all in one read":      {"pq", []string{"lspqrm"}, "ls", "", true},
		"one by one":           {"pq", []string{"x", "p", "q", "y"}, "x", "", true},
		"the first, then more": {"pq", []string{"p", "x", "pp", "x"}, "pxppx", "", false},
		"the first twice":      {"pq", []string{"ppq"}, "p", "", true},
		"the first at the end": {"pq", []string{"xp"}, "x", "p", false},
		"keys that repeat":     {"aab", []string{"a", "a", "a", "b"}, "a", "", true},
	} {
		d := &detacher{keys: []byte(c.keys)}
		got := ""
		for _, in := range c.typed {
			if !d.left {
				got += string(d.pass([]byte(in)))
			}
		}
		if got != c.goes || d.left != c.leaves || !c.leaves && string(d.rest()) != c.rest {
			t.Errorf("%s: passed on %q, held back %q, left %v", name, got, d.rest(), d.left)
		}
	}
}

// The bytes before the detach keys are passed on. If the input has no detach keys, all bytes are
// passed on. The result does not depend on how the input is split into reads.
func FuzzDetachKeys(f *testing.F) {
	f.Add([]byte("ls\n\x10\x10\x11more"), []byte("\x10\x11"), uint8(1))
	f.Add([]byte("aaaab"), []byte("aab"), uint8(2))
	f.Fuzz(func(t *testing.T, typed, keys []byte, step uint8) {
		if len(keys) == 0 || len(keys) > 8 || step == 0 {
			return
		}
		d := &detacher{keys: keys}
		var got []byte
		for rest := typed; len(rest) > 0 && !d.left; {
			n := min(int(step), len(rest))
			got = append(got, d.pass(rest[:n])...)
			rest = rest[n:]
		}
		before, _, found := bytes.Cut(typed, keys)
		if !found {
			got = append(got, d.rest()...)
		}
		if d.left != found || !bytes.Equal(got, before) {
			t.Errorf("passed on %q of %q; left %v, keys found: %v", got, typed, d.left, found)
		}
	})
}

func TestDetachableReadsToTheEndOfItsInput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, keys, want string
		err            error
	}{
		{"ls\n", "\x10\x11", "ls\n", nil},
		{"ls\x10", "\x10\x11", "ls\x10", nil},
		{"ls\x10\x11never", "\x10\x11", "ls", client.ErrDetached},
		{"\x10\x11", "", "\x10\x11", nil},
	} {
		got, err := io.ReadAll(Detachable(iotest.OneByteReader(strings.NewReader(c.in)), []byte(c.keys)))
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
}
