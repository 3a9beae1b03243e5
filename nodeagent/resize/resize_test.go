// SPDX-License-Identifier: Apache-2.0

package resize

import (
	"testing"
	"time"

	"husk"
)

func size(cpu, memory int) husk.Resources { return husk.Resources{CPUMillis: cpu, MemoryMiB: memory} }

// What a machine was offered counts until it has been asked again, also if the size is changed back meanwhile.
func TestAnOfferThatIsWithdrawnCountsUntilTheMachineWasAsked(t *testing.T) {
	t.Parallel()
	var s Size
	desired := husk.DesiredPod{Resources: size(1000, 1024), VMMOverheadMiB: 200}
	s.Start(desired, 80, desired.Resources, true)
	if !s.Settled() || s.LimitMiB() != 1224 || s.Has() != desired.Resources {
		t.Errorf("a machine that was just started has %+v, a limit of %d MiB, and is settled: %v", s.Has(), s.LimitMiB(), s.Settled())
	}
	s.Want(size(1000, 2048))
	if s.Settled() || s.LimitMiB() != 2248 || s.Has() != desired.Resources {
		t.Errorf("a machine that is to grow has %+v and a limit of %d MiB", s.Has(), s.LimitMiB())
	}
	s.Want(desired.Resources) // changed back
	if s.Settled() || s.LimitMiB() != 2248 || s.Has() != size(1000, 2048) {
		t.Errorf("a machine that may still take what it was offered has %+v, a limit of %d MiB, and is settled: %v", s.Has(), s.LimitMiB(), s.Settled())
	}
}

func TestAMachineWhoseChangeWasInterruptedIsAskedAgain(t *testing.T) {
	t.Parallel()
	desired := husk.DesiredPod{Resources: size(1000, 1024), VMMOverheadMiB: 200}
	for _, c := range []struct {
		has     husk.Resources
		settled bool
		want    bool
	}{
		{desired.Resources, true, true},
		{desired.Resources, false, false},
		{size(1000, 2048), true, false}, // the size has changed while the agent was away
		{size(0, 1024), false, false},   // it has come from another node
	} {
		var s Size
		if s.Start(desired, 80, c.has, c.settled); s.Settled() != c.want {
			t.Errorf("a machine with %+v, settled %v, is taken for settled: %v", c.has, c.settled, s.Settled())
		}
		if want := max(c.has.MemoryMiB, 1024) + 200; s.LimitMiB() != want {
			t.Errorf("a machine with %+v has a limit of %d MiB, want %d", c.has, s.LimitMiB(), want)
		}
	}
}

func TestTheEndOfAChangeIsSeenSoon(t *testing.T) {
	t.Parallel()
	for took := 50 * time.Millisecond; took < 30*time.Second; took += 50 * time.Millisecond {
		looks, at := 0, time.Duration(0)
		for at < took {
			at += nextLook(at)
			looks++
		}
		if late := at - took; late > max(took/4, firstLook) || looks > 40 {
			t.Errorf("the end of a change that takes %s is seen after %s and %d looks", took, at, looks)
		}
	}
}
