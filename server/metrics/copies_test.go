// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/store"
)

func TestScrapesOverTheFreeLimitCountAsRequests(t *testing.T) {
	t.Parallel()
	l := &copies{tenants: map[store.ID]*scraped{}}
	tenant, now := uuid.New(), time.Now()
	free := func() (n int) {
		for range 100 {
			if l.Free(tenant, now) {
				n++
			}
		}
		return n
	}
	if n := free(); n != scrapesAtOnce {
		t.Errorf("%d of 100 simultaneous scrapes are free, want %d", n, scrapesAtOnce)
	}
	if !l.Free(uuid.New(), now) {
		t.Error("another tenant's first scrape is not free")
	}
	now = now.Add(time.Second)
	if n := free(); n != scrapesPerSecond {
		t.Errorf("a second later %d of 100 scrapes are free", n)
	}
}
