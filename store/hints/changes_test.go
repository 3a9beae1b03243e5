// SPDX-License-Identifier: Apache-2.0

package hints

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

func TestChangesAreCollectedUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	h := NewHub()
	c := h.Collect(NetworkPrefix)
	if ids, all := c.Take(); !all || ids != nil {
		t.Errorf("at first, the changes are %v, %v", ids, all)
	}
	<-c.Hints()
	a, b := uuid.New(), uuid.New()
	for _, topic := range []string{Network(a), Network(b), Network(a), Tenant(a), Work} {
		h.hint(topic)
	}
	<-c.Hints()
	ids, all := c.Take()
	if all || len(ids) != 2 || !slices.Contains(ids, a) || !slices.Contains(ids, b) {
		t.Errorf("the changes are %v, %v", ids, all)
	}
	if ids, all := c.Take(); all || len(ids) != 0 {
		t.Errorf("after they were taken, the changes are %v, %v", ids, all)
	}
	h.hintAll() // the connection was lost
	if _, all := c.Take(); !all {
		t.Error("after hints were lost, not everything may have changed")
	}
	for range maxIDs + 1 {
		h.hint(Network(uuid.New()))
	}
	if _, all := c.Take(); !all {
		t.Error("too many changes are kept one by one")
	}
	h.hint(NetworkPrefix + "no id")
	if _, all := c.Take(); !all {
		t.Error("a hint without an id is lost")
	}
	c.Close()
	h.hint(Network(a))
	if ids, all := c.Take(); all || len(ids) != 0 {
		t.Errorf("after the end, the changes are %v, %v", ids, all)
	}
}

func TestAFunctionIsCalledForEachHint(t *testing.T) {
	t.Parallel()
	h := NewHub()
	var got []uuid.UUID
	missed := 0
	h.OnHint(NetworkPrefix, func(id uuid.UUID, all bool) {
		if all {
			missed++
			return
		}
		got = append(got, id)
	})
	a, b := uuid.New(), uuid.New()
	for _, topic := range []string{Network(a), Tenant(a), Network(b), Network(a)} {
		h.hint(topic)
	}
	h.hintAll()
	if !slices.Equal(got, []uuid.UUID{a, b, a}) || missed != 1 {
		t.Errorf("the function got %v, and %d times that all may have changed", got, missed)
	}
}
