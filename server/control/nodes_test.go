// SPDX-License-Identifier: Apache-2.0

package control

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestANodeIsSilentOnceItsHeartbeatHasNotMovedForALease(t *testing.T) {
	t.Parallel()
	const lease = 30 * time.Second
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	// What the database says of the time is compared for change only, so it may as well be years off.
	stamp := func(s int) *time.Time { v := start.AddDate(-5, 0, 0).Add(time.Duration(s) * time.Second); return &v }
	a := husk.Node{ID: uuid.New(), State: husk.NodeReady, HeartbeatAt: stamp(0)}
	b := husk.Node{ID: uuid.New(), State: husk.NodeReady, HeartbeatAt: stamp(0)}
	lost := husk.Node{ID: uuid.New(), State: husk.NodeLost, HeartbeatAt: stamp(0)}
	joining := husk.Node{ID: uuid.New(), State: husk.NodeJoining}
	w := newLeases(lease)
	silent := func(after time.Duration, nodes ...husk.Node) string {
		names := map[store.ID]string{a.ID: "a", b.ID: "b", lost.ID: "lost", joining.ID: "joining"}
		text := ""
		for _, n := range w.silent(nodes, start.Add(after)) {
			text += names[n.ID]
		}
		return text
	}
	for _, step := range []struct {
		after time.Duration
		beats int // of b
		want  string
	}{
		{0, 0, ""}, // every node has a fresh lease when a server begins to lead, however old its heartbeat
		{20 * time.Second, 20, ""},
		{30 * time.Second, 20, ""}, // exactly a lease is not more than a lease
		{31 * time.Second, 20, "a"},
		{51 * time.Second, 20, "ab"},
		{52 * time.Second, 52, "a"},  // b is back
		{53 * time.Second, 10, "a"},  // a clock that went back is a heartbeat all the same
		{84 * time.Second, 10, "ab"}, // and counts from when it was seen
	} {
		b.HeartbeatAt = stamp(step.beats)
		if got := silent(step.after, a, b, lost, joining); got != step.want {
			t.Errorf("after %s %q are silent, want %q", step.after, got, step.want)
		}
	}
	a.State = husk.NodeLost
	silent(90*time.Second, a)
	a.State = husk.NodeReady
	if got := silent(100*time.Second, a); got != "" {
		t.Errorf("a node that came back has no fresh lease: %s", got)
	}
	if len(w.seen) != 1 {
		t.Errorf("%d nodes are remembered after the others were deleted", len(w.seen))
	}
}
