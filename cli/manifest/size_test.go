// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"testing"

	"husk/openapi"
)

func TestSizesOfAPodAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string][2]float64{"cpuMillis": {minCPUMillis, maxCPUMillis}, "memoryMiB": {minMemoryMiB, maxMemoryMiB}} {
		schema := spec.Components.Schemas["Resources"].Value.Properties[field].Value
		if *schema.Min != want[0] || *schema.Max != want[1] {
			t.Errorf("%s: from %g to %g in the contract, from %g to %g here", field, *schema.Min, *schema.Max, want[0], want[1])
		}
	}
}
