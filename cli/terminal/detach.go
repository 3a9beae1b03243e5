// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"husk/client"
)

// DefaultDetachKeys are the same as docker's.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ParseDetachKeys reads a list such as ctrl-p,ctrl-q or ctrl-],x. An empty list means that there are no keys.
func ParseDetachKeys(text string) ([]byte, error) {
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
			return nil, fmt.Errorf("%q is neither a single character nor ctrl- followed by one of a-z @ [ \\ ] ^ _", word)
		}
	}
	return keys, nil
}

// isOtherControl reports whether a character other than a letter can be typed with Ctrl.
func isOtherControl(sign byte) bool { return sign == '@' || sign >= '[' && sign <= '_' }

// Detachable returns a reader of the input that ends with [client.ErrDetached] when the detach keys are typed.
func Detachable(in io.Reader, keys []byte) io.Reader {
	if len(keys) == 0 {
		return in
	}
	return &detachable{in: in, detacher: detacher{keys: keys}, buf: make([]byte, 32<<10)}
}

type detachable struct {
	in       io.Reader
	detacher detacher
	buf      []byte
	ready    []byte // input that Read has not returned yet
	err      error  // the error that Read returns after that input
}

// Read implements io.Reader.
func (d *detachable) Read(p []byte) (int, error) {
	for len(d.ready) == 0 && d.err == nil {
		n, err := d.in.Read(d.buf)
		d.ready = d.detacher.pass(d.buf[:n])
		switch {
		case d.detacher.left:
			d.err = client.ErrDetached
		case err != nil:
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("read the input: %w", err)
			}
			d.ready, d.err = append(d.ready, d.detacher.rest()...), err
		}
	}
	n := copy(p, d.ready)
	if d.ready = d.ready[n:]; len(d.ready) > 0 {
		return n, nil
	}
	return n, d.err
}

// detacher looks for the detach keys in input.
type detacher struct {
	keys []byte
	held int  // how many of the keys were typed and are held back
	left bool // all of them were typed
}

// pass returns the part of the input that goes to the container. If the input ends with the first of the keys, pass holds them back until
// it sees what follows. Once all keys were typed, it drops the rest of the input and sets d.left.
func (d *detacher) pass(in []byte) []byte {
	out := make([]byte, 0, len(in)+d.held)
	for _, b := range in {
		out, d.held = append(append(out, d.keys[:d.held]...), b), 0
		for n := min(len(d.keys), len(out)); n > 0; n-- { // the longest end of the input that begins the keys
			if bytes.HasSuffix(out, d.keys[:n]) {
				out, d.held = out[:len(out)-n], n
				break
			}
		}
		if d.held == len(d.keys) {
			d.left = true
			return out
		}
	}
	return out
}

// rest returns the keys that are held back, for when the input ends.
func (d *detacher) rest() []byte { return d.keys[:d.held] }
