// SPDX-License-Identifier: Apache-2.0

package address

import (
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"husk"
)

// The blocks have exactly the addresses of the range.
func TestARangeConsistsOfBlocks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, last string
		blocks      int
	}{
		{"192.0.2.1", "192.0.2.1", 1}, {"192.0.2.0", "192.0.2.255", 1}, {"192.0.2.1", "192.0.2.254", 14}, {"0.0.0.0", "255.255.255.255", 1}, {"10.213.92.1", "10.213.95.250", 17},
	} {
		r := Range{First: netip.MustParseAddr(c.first), Last: netip.MustParseAddr(c.last)}
		blocks := r.Prefixes()
		size := int64(0)
		for _, b := range blocks {
			size += 1 << (32 - b.Bits())
			if b.Addr().Less(r.First) || r.Last.Less(b.Addr()) || b != b.Masked() {
				t.Errorf("%s to %s has the block %s", c.first, c.last, b)
			}
		}
		if size != r.Size() || len(blocks) != c.blocks {
			t.Errorf("%s to %s are %d blocks with %d addresses, want %d with %d", c.first, c.last, len(blocks), size, c.blocks, r.Size())
		}
	}
	if none := (Range{}); none.Valid() || none.Size() != 0 || none.Prefixes() != nil {
		t.Errorf("an empty range is %v", none.Prefixes())
	}
}

func TestAddressesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	for name, c := range map[string]struct {
		address Address
		field   string // empty: it is accepted
	}{
		"reserved":                  {Address{}, ""},
		"an empty target":           {Address{Target: &Target{}}, ""},
		"a service":                 {Address{Target: &Target{ServiceID: &id}, DeleteWithTarget: true}, ""},
		"a pod":                     {Address{Target: &Target{PodID: &id, Ports: []Port{{Port: 80}, {Port: 80, Protocol: "UDP"}}}}, ""},
		"deleted with nothing":      {Address{DeleteWithTarget: true}, "deleteWithTarget"},
		"both":                      {Address{Target: &Target{ServiceID: &id, PodID: &id}}, "target"},
		"ports of nothing":          {Address{Target: &Target{Ports: []Port{{Port: 80}}}}, "target"},
		"ports of a service":        {Address{Target: &Target{ServiceID: &id, Ports: []Port{{Port: 80}}}}, "target.ports"},
		"the same port for another": {Address{Target: &Target{PodID: &id, Ports: []Port{{Port: 80}, {Port: 80, TargetPort: 81}}}}, "target.ports[1].port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.address.Complete().Check()
			field := ""
			if e, ok := err.(*husk.Error); ok { //nolint:errorlint // as the API does
				field = e.Field
			}
			if field != c.field || (err == nil) != (c.field == "") {
				t.Errorf("the field is %q, want %q: %v", field, c.field, err)
			}
		})
	}
}
