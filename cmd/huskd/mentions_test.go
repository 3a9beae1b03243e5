// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"husk/test/docs"
)

// Every command and flag of huskd that a text mentions must exist. The texts are the documentation,
// the contract, messages and the dashboard.
func TestPrintedCommandsExist(t *testing.T) {
	t.Parallel()
	found, err := docs.Mentions("../..", "huskd")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 15 {
		t.Errorf("found only %d commands", len(found))
	}
	for _, m := range found {
		if err := m.Check(root()); err != nil {
			t.Errorf("%s: %s: %v", m.Where, m.Line, err)
		}
	}
}
