// SPDX-License-Identifier: Apache-2.0

package lifetime

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

func TestRestartsWaitLongerEachTime(t *testing.T) {
	t.Parallel()
	last := restartDelay(1)
	if last != 0 {
		t.Errorf("the first restart waits %s", last)
	}
	for n := 2; n < 100; n++ {
		if d := restartDelay(n); d < last || d > 5*60e9 {
			t.Fatalf("restart %d waits %s after %s", n, d, last)
		} else {
			last = d
		}
	}
}

// stored returns the state as the next agent reads it.
func stored(t *testing.T, s State) (next State) {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &next); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestARestartOfTheAgentDoesNotShortenTheBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s State
		died := time.Now()
		s.Died(died, 5) // 8 s
		for wakes := 0; s.StartIn(time.Now()) > 0; wakes++ {
			time.Sleep(min(time.Second, s.StartIn(time.Now())))
			s = stored(t, s)
			if wakes > 100 {
				t.Fatal("it never starts")
			}
		}
		if waited := time.Since(died); waited != 8*time.Second {
			t.Errorf("the start waited %s", waited)
		}
		s.NotBefore = time.Now().Add(24 * time.Hour) // the clock was set back
		if wait := s.StartIn(time.Now()); wait > maxRestartDelay {
			t.Errorf("the start waits %s", wait)
		}
	})
}

// A guest can end its machine as often as it wants. In a day it gets a burst for a few percent of
// the time only.
func TestTheBurstIsABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s State
		begin, used, limited := time.Now(), time.Duration(0), 0
		for time.Since(begin) < 24*time.Hour {
			burst := s.Start(time.Now())
			if burst == 0 {
				limited++
			}
			used += burst
			s = stored(t, s) // the agent is restarted too
			time.Sleep(max(burst, time.Second))
		}
		if most := burstBudget + 24*time.Hour/60; used > most || limited == 0 {
			t.Errorf("the machine ran for %s without its limit, want at most %s; %d starts were limited", used, most, limited)
		}
	})
}

func TestABurstThatIsNotUsedStaysInTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s State
		for range 20 { // boots of 2 s
			if burst := s.Start(time.Now()); burst != BurstPerStart {
				t.Fatalf("a burst of %s after %s were spent", burst, s.BurstSpent)
			}
			time.Sleep(2 * time.Second)
			s.Limit(time.Now())
			if rest := s.UnlimitedFor(time.Now()); rest != 0 {
				t.Fatalf("without a limit for %s more", rest)
			}
		}
	})
}

func TestAGuestMustAnswerInTime(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	const boot = 120 * time.Second
	for _, c := range []struct {
		name string
		m    Machine
		want time.Time
	}{
		{"it boots", Machine{Started: at(0), SilentSince: at(1)}, at(120)},
		{"a new agent finds it booting", Machine{Started: at(0), SilentSince: at(60), Adopted: true}, at(120)},
		{"a new agent finds it too late", Machine{Started: at(0), SilentSince: at(500), Adopted: true}, at(510)},
		{"nobody knows when it was started", Machine{SilentSince: at(60), Adopted: true}, at(180)},
		{"the clock was set back", Machine{Started: at(9000), SilentSince: at(60)}, at(180)},
		{"it was connected before", Machine{Started: at(0), SilentSince: at(500), HasAnswered: true}, at(530)},
	} {
		if got := c.m.AnswerBy(boot); !got.Equal(c.want) {
			t.Errorf("%s: it must answer by %s, want %s", c.name, got, c.want)
		}
	}
}
