package main

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
)

// errDetached says that a session was left by its keys, and that what it was with goes on.
var errDetached = errors.New("detached")

// defaultDetachKeys are docker's.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// detacher looks for the keys that leave a session in what is typed. A nil one knows none.
type detacher struct {
	keys []byte
	held int // so many of the keys were typed, and are not passed on yet
	left atomic.Bool
}

// parseDetachKeys reads a list such as ctrl-p,ctrl-q or ctrl-],x. An empty one is no keys.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for word := range strings.SplitSeq(text, ",") {
		name, isControl := strings.CutPrefix(strings.ToLower(word), "ctrl-")
		switch {
		case isControl && len(name) == 1 && (name[0] >= 'a' && name[0] <= 'z' || isOtherControl(name[0])):
			keys = append(keys, strings.ToUpper(name)[0]&0x1f)
		case len(word) == 1 && word[0] > ' ' && word[0] < 0x7f:
			keys = append(keys, word[0])
		default:
			return nil, usagef("--detach-keys: %q is neither a letter nor ctrl- and one of a-z @ [ \\ ] ^ _", word)
		}
	}
	return keys, nil
}

// isOtherControl tells the signs that are typed with Ctrl, beside the letters.
func isOtherControl(sign byte) bool { return sign == '@' || sign >= '[' && sign <= '_' }

// pass returns what of the input goes on. The beginning of the keys waits for what comes behind it; once they are complete, nothing behind
// them goes on, and left is set.
func (d *detacher) pass(in []byte) []byte {
	if d == nil || len(d.keys) == 0 {
		return in
	}
	out := make([]byte, 0, len(in)+d.held)
	for _, b := range in {
		out, d.held = append(append(out, d.keys[:d.held]...), b), 0
		for n := min(len(d.keys), len(out)); n > 0; n-- { // the longest end that the keys begin with
			if bytes.HasSuffix(out, d.keys[:n]) {
				out, d.held = out[:len(out)-n], n
				break
			}
		}
		if d.held == len(d.keys) {
			d.left.Store(true)
			return out
		}
	}
	return out
}

// rest is what waits for a key that will not come.
func (d *detacher) rest() []byte {
	if d == nil {
		return nil
	}
	return d.keys[:d.held]
}

// hasLeft tells whether the keys were typed.
func (d *detacher) hasLeft() bool { return d != nil && d.left.Load() }
