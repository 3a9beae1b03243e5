// SPDX-License-Identifier: Apache-2.0

package vm

import "testing"

func TestAnUnconfinedQEMUIsNoticed(t *testing.T) {
	t.Parallel()
	capabilities := func(models string) string {
		return "<capabilities><host><secmodel><model>dac</model><doi>0</doi></secmodel>" + models + "</host></capabilities>"
	}
	for model, confined := range map[string]bool{
		"": false, "<secmodel><model>none</model></secmodel>": false,
		"<secmodel><model>apparmor</model><doi>0</doi></secmodel>": true, "<secmodel><model>selinux</model><doi>0</doi></secmodel>": true,
	} {
		if err := checkConfinement("qemu:///system", capabilities(model)); (err == nil) != confined {
			t.Errorf("with %q: %v", model, err)
		}
	}
}
