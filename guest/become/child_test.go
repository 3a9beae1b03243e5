// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	got := environment([]string{"A=1", "HOME=/srv", "A=2"}, "pod", "/root")
	if diff := cmp.Diff([]string{defaultPath, "HOSTNAME=pod", "HOME=/srv", "A=2"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
