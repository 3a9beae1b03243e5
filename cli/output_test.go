// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"

	"husk/cli/exit"
)

func TestAWriteErrorIsAFailure(t *testing.T) {
	isolate(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"--help"}, {"help", "pods"}, {"pods", "--help"}, {"version"}, {"completion", "bash"}} {
		var errs strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), full, &errs); code == exit.OK || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v on a full device ends with %d and %q", args, code, errs.String())
		}
	}
}
