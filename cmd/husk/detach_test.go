package main

import (
	"bytes"
	"testing"
)

func TestKeysThatDetachAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "ctrl-],x": "\x1dx", "CTRL-A": "\x01", "~,.": "~.", "": "", "ctrl-@": "\x00"} {
		if got, err := parseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ctrl-pp", "pq", ",", "a,", "ä", "\x10", " "} {
		if got, err := parseDetachKeys(text); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestWhatIsTypedGoesOnUntilTheKeysThatDetach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys       string
		typed      []string
		goes, rest string
		leaves     bool
	}{
		"nothing of them":     {"pq", []string{"hello", "\n"}, "hello\n", "", false},
		"all at once":         {"pq", []string{"lspqrm"}, "ls", "", true},
		"one by one":          {"pq", []string{"x", "p", "q", "y"}, "x", "", true},
		"the first, and more": {"pq", []string{"p", "x", "pp", "x"}, "pxppx", "", false},
		"the first twice":     {"pq", []string{"ppq"}, "p", "", true},
		"the first at last":   {"pq", []string{"xp"}, "x", "p", false},
		"they repeat":         {"aab", []string{"a", "a", "a", "b"}, "a", "", true},
		"none":                {"", []string{"\x10\x11"}, "\x10\x11", "", false},
	} {
		d := &detacher{keys: []byte(c.keys)}
		got := ""
		for _, in := range c.typed {
			if !d.hasLeft() {
				got += string(d.pass([]byte(in)))
			}
		}
		if got != c.goes || d.hasLeft() != c.leaves || !c.leaves && string(d.rest()) != c.rest {
			t.Errorf("%s: %q goes on, %q waits, left %v", name, got, d.rest(), d.hasLeft())
		}
	}
}

// However input is cut into reads, what goes on is what stands before the keys, and all of it if they are not there.
func FuzzDetachKeys(f *testing.F) {
	f.Add([]byte("ls\n\x10\x10\x11more"), []byte("\x10\x11"), uint8(1))
	f.Add([]byte("aaaab"), []byte("aab"), uint8(2))
	f.Fuzz(func(t *testing.T, typed, keys []byte, step uint8) {
		if len(keys) == 0 || len(keys) > 8 || step == 0 {
			return
		}
		d := &detacher{keys: keys}
		var got []byte
		for rest := typed; len(rest) > 0 && !d.hasLeft(); {
			n := min(int(step), len(rest))
			got = append(got, d.pass(rest[:n])...)
			rest = rest[n:]
		}
		before, _, found := bytes.Cut(typed, keys)
		if !found {
			got = append(got, d.rest()...)
		}
		if d.hasLeft() != found || !bytes.Equal(got, before) {
			t.Errorf("%q of %q goes on; left %v, the keys are there: %v", got, typed, d.hasLeft(), found)
		}
	})
}
