package nodeagent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"husk"
)

func reopened(t *testing.T, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wantRuns(t *testing.T, j *journal, want ...husk.MachineRun) telling {
	t.Helper()
	got := j.untold()
	byStart := cmpopts.SortSlices(func(a, b husk.MachineRun) bool { return a.StartedAt.Before(b.StartedAt) })
	if diff := cmp.Diff(want, got.runs, byStart, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("untold (-want +got):\n%s", diff)
	}
	return got
}

// A life is told until a server has booked it, by whichever agent runs then, and is forgotten when it has ended and is booked.
func TestTheJournalTellsEveryLifeUntilItIsBooked(t *testing.T) {
	t.Parallel()
	dir, pod := t.TempDir(), uuid.New()
	at := func(minutes int) time.Time { return time.Date(2026, 3, 2, 9, minutes, 0, 0, time.UTC) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := reopened(t, dir)
	must(j.begin(pod, at(0)))
	must(j.begin(pod, at(1))) // it goes on
	first := husk.MachineRun{PodID: pod, StartedAt: at(0)}
	telling := wantRuns(t, j, first)
	wantRuns(t, j, first) // until it is booked
	must(j.told(telling))
	wantRuns(t, j)

	j = reopened(t, dir) // an agent that does not know what arrived tells it again
	wantRuns(t, j, first)
	must(j.told(j.untold()))
	if start, open := j.startOf(pod); !open || !start.Equal(at(0)) {
		t.Errorf("the open run began at %s, open is %v", start, open)
	}
	if !j.count(pod, 10, 20, at(2)) || j.count(pod, 10, 20, at(3)) || j.count(pod, 11, 21, at(2).Add(time.Second)) || j.count(pod, 5, 30, at(9)) {
		t.Error("traffic is told when it has not changed, too often, or when it goes back")
	}
	booked := j.untold()
	must(j.end(pod, at(5)))
	must(j.end(pod, at(7))) // once
	stop := at(5)
	ended := husk.MachineRun{PodID: pod, StartedAt: at(0), StoppedAt: &stop, ReceivedBytes: 11, SentBytes: 21}
	must(j.told(booked)) // what was on the way meanwhile is not the end
	wantRuns(t, j, ended)
	must(j.begin(pod, at(8)))
	second := husk.MachineRun{PodID: pod, StartedAt: at(8)}
	j = reopened(t, dir)
	must(j.told(wantRuns(t, j, ended, second)))
	must(j.end(pod, at(6))) // a clock that was set back
	stopped := at(8)
	second.StoppedAt = &stopped
	must(j.told(wantRuns(t, j, second)))
	wantRuns(t, reopened(t, dir))
}
