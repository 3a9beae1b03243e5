// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"testing"

	"github.com/google/uuid"

	"husk"
)

func TestTheNumberOfSessionsOfATenantIsLimited(t *testing.T) {
	t.Parallel()
	sessions := &counts{open: map[uuid.UUID]int{}}
	one, other := uuid.New(), uuid.New()
	var leave func()
	for range maxTenantSessions {
		var err error
		if leave, err = sessions.enter(one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sessions.enter(one); husk.CodeOf(err) != husk.CodeSessionLimit {
		t.Errorf("a session above the limit: %v", err)
	}
	if _, err := sessions.enter(other); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	leave()
	leave() // the second call has no effect
	if _, err := sessions.enter(one); err != nil {
		t.Errorf("after one session has ended: %v", err)
	}
	if _, err := sessions.enter(one); err == nil {
		t.Error("ending a session twice freed two sessions")
	}
}
