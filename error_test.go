// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"errors"
	"fmt"
	"testing"

	"husk"
)

func TestTheCodeOfAnError(t *testing.T) {
	t.Parallel()
	shown := husk.Errorf(husk.CodeInvalid, "spec.name", "no %s", "good")
	for name, c := range map[string]struct {
		err  error
		code husk.Code
		text string
	}{
		"that is nil":                      {nil, "", ""},
		"that is a husk error":             {shown, husk.CodeInvalid, "invalid: spec.name: no good"},
		"that wraps a husk error":          {fmt.Errorf("pod x: %w", shown), husk.CodeInvalid, "pod x: invalid: spec.name: no good"},
		"that is joined with a husk error": {errors.Join(shown, errors.New("why")), husk.CodeInvalid, "invalid: spec.name: no good\nwhy"},
		"without a field":                  {husk.NotFound("pod"), husk.CodeNotFound, "not_found: there is no such pod"},
		"of another type":                  {errors.New("boom"), husk.CodeInternal, "boom"},
	} {
		if got := husk.CodeOf(c.err); got != c.code {
			t.Errorf("the code of an error %s is %q, want %q", name, got, c.code)
		}
		if c.err != nil && c.err.Error() != c.text {
			t.Errorf("the text of an error %s is %q, want %q", name, c.err, c.text)
		}
	}
}
