// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"husk"
	"husk/store"
)

type thing struct {
	ID    uuid.UUID
	Value int
}

func things() *feed[thing] {
	return newFeed(Kind[thing]{ID: func(x thing) uuid.UUID { return x.ID }}, store.Tenant{}, nil)
}

// TestAReaderSeesTheLatestState compares what readers know with the list, however rarely they read.
func TestAReaderSeesTheLatestState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := things()
		type reader struct {
			version uint64
			known   map[uuid.UUID]int
		}
		readers := []*reader{{known: map[uuid.UUID]int{}}, {known: map[uuid.UUID]int{}}, {known: map[uuid.UUID]int{}}}
		read := func(r *reader) {
			changed, version, _, err := f.after(r.version, husk.Caller{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range changed {
				switch _, known := r.known[e.id]; {
				case e.gone && !known: // created and deleted since the last read
				case e.gone:
					delete(r.known, e.id)
				default:
					r.known[e.id] = e.object.Value
				}
			}
			r.version = version
		}
		serial, list := byte(0), map[uuid.UUID]int{}
		for range rapid.IntRange(1, 60).Draw(t, "updates") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				ids := make([]uuid.UUID, 0, len(list))
				for i := range serial {
					if _, there := list[uuid.UUID{i}]; there {
						ids = append(ids, uuid.UUID{i})
					}
				}
				switch what := rapid.IntRange(0, 2).Draw(t, "what"); {
				case what == 0 || len(ids) == 0:
					if serial < 100 {
						list[uuid.UUID{serial}] = 0
						serial++
					}
				case what == 1:
					list[rapid.SampledFrom(ids).Draw(t, "changed")]++
				default:
					delete(list, rapid.SampledFrom(ids).Draw(t, "deleted"))
				}
			}
			var now []thing
			for id, value := range list {
				now = append(now, thing{id, value})
			}
			f.update(now, nil, 0)
			if len(f.changed) > 2*(len(f.objects)+len(f.gone))+16 {
				t.Fatalf("the feed remembers %d versions of %d objects", len(f.changed), len(list))
			}
			for i, r := range readers {
				if rapid.IntRange(0, i*3).Draw(t, "reads") == 0 {
					read(r)
				}
			}
		}
		for i, r := range readers {
			read(r)
			if diff := cmp.Diff(list, r.known); diff != "" {
				t.Fatalf("reader %d (-list +known):\n%s", i, diff)
			}
		}
	})
}

func TestAReaderThatMissesDeletionsIsDisconnected(t *testing.T) {
	t.Parallel()
	f := things()
	fast := uint64(0)
	for i := range maxGone + 2 {
		f.update([]thing{{ID: uuid.UUID{byte(i), byte(i >> 8)}}}, nil, 0)
		var err error
		if _, fast, _, err = f.after(fast, husk.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.gone) != maxGone || len(f.changed) > 2*maxGone {
		t.Errorf("the feed remembers %d deletions and %d versions", len(f.gone), len(f.changed))
	}
	if _, _, _, err := f.after(1, husk.Caller{}); !errors.Is(err, errSlow) {
		t.Errorf("a reader that has missed a forgotten deletion gets the error %v", err)
	}
}
