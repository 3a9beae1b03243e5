// SPDX-License-Identifier: Apache-2.0

package control

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestANodeIsSilentOnceItsHeartbeatHasNotChangedForALease(t *testing.T) {
	t.Parallel()
	const lease = 30 * time.Second
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	// leases only checks whether the database's time has changed, so that clock may be wrong by years.
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
		{0, 0, ""}, // when a server becomes leader, every node gets a new lease, however old its heartbeat is
		{20 * time.Second, 20, ""},
		{30 * time.Second, 20, ""}, // exactly one lease is not too long
		{31 * time.Second, 20, "a"},
		{51 * time.Second, 20, "ab"},
		{52 * time.Second, 52, "a"},  // b has sent a heartbeat again
		{53 * time.Second, 10, "a"},  // a heartbeat with an earlier time counts too
		{84 * time.Second, 10, "ab"}, // the lease starts when the heartbeat was seen
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
		t.Errorf("a node that sent a heartbeat again has no new lease: %s", got)
	}
	if len(w.seen) != 1 {
		t.Errorf("%d nodes are remembered after the others were deleted", len(w.seen))
	}
}
