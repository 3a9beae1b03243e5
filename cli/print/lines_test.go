// SPDX-License-Identifier: Apache-2.0

package print

import (
	"strings"
	"sync"
	"testing"

	"husk/client"
)

func TestALogSaysWhereOutputIsMissing(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	p := Lines{Mu: &sync.Mutex{}, Out: &out, Errs: &errs, Prefix: "[web] "}
	for _, l := range []client.LogLine{{Line: "a"}, {Line: "b", Partial: true}, {Line: "c", DroppedBytes: 7}, {Line: "d", Dropped: 3, Partial: true}} {
		if err := p.Print(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	notes := strings.Split(errs.String(), "\n")
	if out.String() != "[web] a\n[web] b\n[web] c\n[web] d\n" || !strings.HasPrefix(notes[0], "[web] (7 bytes of output are missing here") ||
		!strings.HasPrefix(notes[1], "[web] (3 lines of output are missing here") {
		t.Errorf("the output is %q and %q", out.String(), errs.String())
	}
}

func TestALogIsPrintedByteForByte(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := Lines{Mu: &sync.Mutex{}, Out: &out}
	for _, l := range []client.LogLine{{Line: "\ufffd", Bytes: []byte("\xff")}, {Line: "no ne", Partial: true}, {Line: "wline", Partial: true}} {
		if err := p.Print(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(); err != nil || out.String() != "\xff\nno newline" {
		t.Errorf("the output is %q (%v)", out.String(), err)
	}
}
