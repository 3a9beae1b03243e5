// SPDX-License-Identifier: Apache-2.0

package version_test

import (
	"regexp"
	"strings"
	"testing"

	"husk/version"
)

// Packages and clients compare versions, so the file has one number in the form of semver.org.
func TestTheFileHasOneNumber(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-dev)?$`).MatchString(version.Number()) {
		t.Errorf("VERSION has %q, which is not a number such as 0.1.0 or 0.1.0-dev", version.Number())
	}
}

func TestProgramsSayTheirVersion(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`^husk ` + regexp.QuoteMeta(version.Number()) + `(, commit [0-9a-f]{40}(-modified)?)?, go1\.\S+( \S+)*, \w+/\w+\n$`)
	if got := version.Line("husk"); !line.MatchString(got) {
		t.Errorf("the line is %q", got)
	}
	if got := version.UserAgent("husk"); !strings.HasPrefix(got, "husk/"+version.Number()+" (") {
		t.Errorf("the user agent is %q", got)
	}
}
