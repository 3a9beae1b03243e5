// SPDX-License-Identifier: Apache-2.0

package print

import (
	"strings"
	"sync"
	"testing"

	"husk/client"
)

func TestALogSaysWhereLinesAreMissing(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	p := Lines{Mu: &sync.Mutex{}, Out: &out, Errs: &errs, Prefix: "[web] "}
	for _, l := range []client.LogLine{{Line: "a"}, {Line: "b", Dropped: 7}} {
		if err := p.Print(l); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "[web] a\n[web] b\n" || !strings.HasPrefix(errs.String(), "[web] (7 lines were dropped here") {
		t.Errorf("the output is %q and %q", out.String(), errs.String())
	}
}
