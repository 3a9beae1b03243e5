// SPDX-License-Identifier: Apache-2.0

package usagelog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"husk"
)

func reopened(t *testing.T, dir string) *Log {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wantRuns(t *testing.T, j *Log, want ...husk.MachineRun) Batch {
	t.Helper()
	got := j.Unrecorded()
	byStart := cmpopts.SortSlices(func(a, b husk.MachineRun) bool { return a.StartedAt.Before(b.StartedAt) })
	if diff := cmp.Diff(want, got.Runs, byStart, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("unrecorded intervals (-want +got):\n%s", diff)
	}
	return got
}

// The agent reports an interval until a server has recorded it, also after a restart of the agent.
// It deletes the interval when it has ended and the end is recorded.
func TestEveryUsageIntervalIsReportedUntilItIsRecorded(t *testing.T) {
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
	must(j.Begin(pod, at(0), nil))
	must(j.Begin(pod, at(1), nil)) // the interval continues
	first := husk.MachineRun{PodID: pod, StartedAt: at(0)}
	batch := wantRuns(t, j, first)
	wantRuns(t, j, first) // reported again until it is recorded
	must(j.Recorded(batch))
	wantRuns(t, j)

	j = reopened(t, dir) // a restarted agent does not know what is recorded, and reports the interval again
	wantRuns(t, j, first)
	must(j.Recorded(j.Unrecorded()))
	if start, open := j.StartOf(pod); !open || !start.Equal(at(0)) {
		t.Errorf("the open interval began at %s, open is %v", start, open)
	}
	if !j.Count(pod, husk.Traffic{ReceivedBytes: 10, SentBytes: 20}, at(2)) || j.Count(pod, husk.Traffic{ReceivedBytes: 10, SentBytes: 20}, at(3)) || j.Count(pod, husk.Traffic{ReceivedBytes: 11, SentBytes: 21}, at(2).Add(time.Second)) || j.Count(pod, husk.Traffic{ReceivedBytes: 5, SentBytes: 30}, at(9)) {
		t.Error("traffic is reported although it has not changed, too often, or although it decreases")
	}
	reported := j.Unrecorded()
	must(j.End(pod, at(5)))
	must(j.End(pod, at(7))) // only the first end counts
	stop := at(5)
	ended := husk.MachineRun{PodID: pod, StartedAt: at(0), StoppedAt: &stop, Traffic: husk.Traffic{ReceivedBytes: 11, SentBytes: 21}}
	must(j.Recorded(reported)) // later changes do not count as recorded
	wantRuns(t, j, ended)
	must(j.Begin(pod, at(8), nil))
	second := husk.MachineRun{PodID: pod, StartedAt: at(8)}
	j = reopened(t, dir)
	must(j.Recorded(wantRuns(t, j, ended, second)))
	must(j.End(pod, at(6))) // the clock was set back
	stopped := at(8)
	second.StoppedAt = &stopped
	must(j.Recorded(wantRuns(t, j, second)))
	wantRuns(t, reopened(t, dir))
}

func TestAnotherSizeBeginsAnotherInterval(t *testing.T) {
	t.Parallel()
	dir, pod := t.TempDir(), uuid.New()
	at := func(minutes int) time.Time { return time.Date(2026, 3, 2, 9, minutes, 0, 0, time.UTC) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	small, large := husk.Resources{CPUMillis: 1000, MemoryMiB: 128}, husk.Resources{CPUMillis: 3000, MemoryMiB: 512}
	j := reopened(t, dir)
	must(j.Begin(pod, at(0), nil))
	j.Count(pod, husk.Traffic{ReceivedBytes: 10, SentBytes: 20, OutsideSentBytes: 5}, at(1))
	must(j.Resize(pod, small, large, at(2)))
	must(j.Resize(pod, small, large, at(3))) // repeated, after a crash of the agent
	j = reopened(t, dir)
	if j.Count(pod, husk.Traffic{ReceivedBytes: 9, SentBytes: 20}, at(4)) {
		t.Error("traffic is reported although it has decreased")
	}
	j.Count(pod, husk.Traffic{ReceivedBytes: 15, SentBytes: 27, OutsideSentBytes: 6}, at(5))
	must(j.Resize(pod, large, small, at(5)))
	must(j.End(pod, at(6)))
	first, second := at(2), at(5)
	third := at(6)
	wantRuns(t, j,
		husk.MachineRun{PodID: pod, StartedAt: at(0), StoppedAt: &first, Resources: &small, Traffic: husk.Traffic{ReceivedBytes: 10, SentBytes: 20, OutsideSentBytes: 5}},
		husk.MachineRun{PodID: pod, StartedAt: at(2), StoppedAt: &second, Resources: &large, Traffic: husk.Traffic{ReceivedBytes: 5, SentBytes: 7, OutsideSentBytes: 1}},
		husk.MachineRun{PodID: pod, StartedAt: at(5), StoppedAt: &third, Resources: &small},
	)
}

func TestAMachineThatEndedWithItsAgentEndedWhenThatWasLastSeen(t *testing.T) {
	t.Parallel()
	dir, lost, kept := t.TempDir(), uuid.New(), uuid.New()
	j := reopened(t, dir)
	if _, known := j.LastSign(lost); known {
		t.Error("the first agent has a predecessor")
	}
	for _, pod := range []uuid.UUID{lost, kept} {
		if err := j.Begin(pod, time.Now().Add(-time.Hour), nil); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-time.Second)
	if err := j.Alive(); err != nil {
		t.Fatal(err)
	}
	j = reopened(t, dir) // after a power failure
	j.Seen(kept)
	if at, unseen := j.LastSign(lost); !unseen || at.Before(before) || at.After(time.Now()) {
		t.Errorf("the machine that is gone was last seen at %s: %v", at, unseen)
	}
	if _, unseen := j.LastSign(kept); unseen {
		t.Error("a machine that runs has ended with the previous agent")
	}
	if _, unseen := j.LastSign(uuid.New()); unseen {
		t.Error("a machine that never ran has ended with the previous agent")
	}
}
