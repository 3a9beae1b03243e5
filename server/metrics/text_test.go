// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strings"
	"testing"

	"husk"
)

func TestLabelValuesAreEscaped(t *testing.T) {
	t.Parallel()
	text := string(textOf(&husk.TenantMetrics{Name: "a\"} 1\nb\\"}))
	if want := `husk_quota_limit{tenant="a\"} 1\nb\\",resource="pods"} 0` + "\n"; !strings.Contains(text, want) {
		t.Errorf("the text is %s", text)
	}
}
