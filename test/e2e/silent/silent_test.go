// SPDX-License-Identifier: Apache-2.0

// Package silent tests what the agent does with a guest that does not respond. Its agent waits only a short time for a response.
package silent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/nodeagent/lifetime"
	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// bootTimeout is longer than the burst, so that a silent guest has to get its cpu limit.
const bootTimeout = lifetime.BurstPerStart + 10*time.Second

func TestMain(m *testing.M) {
	if err := os.Setenv("HUSKD_BOOT_TIMEOUT", bootTimeout.String()); err != nil {
		panic(err)
	}
	stack.Main(m)
}

// life is one virtual machine of a pod.
type life struct {
	pid          int
	begin, end   time.Time
	limitAtStart bool // its cpu limit was set before it ran
	limitAtEnd   bool
}

// silence suspends every machine of the pod as soon as it runs, and sends what it saw of each.
func silence(ctx context.Context, tn *stack.Tenant, pod uuid.UUID) <-chan life {
	lives, domain := make(chan life, 16), "husk-"+pod.String()
	limited := func() bool {
		quota := ""
		for line := range strings.Lines(tn.Virsh("schedinfo", domain)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "global_quota" {
				quota = strings.TrimSpace(value)
			}
		}
		return quota == "10000" // a tenth of a core, in microseconds per 100 ms
	}
	go func() {
		defer close(lives)
		for ctx.Err() == nil {
			l := life{pid: stack.QEMU(pod), begin: time.Now()}
			if l.pid == 0 || tn.Virsh("domstate", domain) != "running" {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			tn.Virsh("suspend", domain)
			l.limitAtStart = limited()
			for stack.QEMU(pod) == l.pid && ctx.Err() == nil {
				l.limitAtEnd = limited() || l.limitAtEnd
				time.Sleep(100 * time.Millisecond)
			}
			l.end = time.Now()
			lives <- l
		}
	}()
	return lives
}

// The guest of this pod never responds, and the agent is killed once. Neither the agent's regular checks nor its restart move the deadline.
func TestASilentGuestIsEndedInTime(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "silent", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = 100
		s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
	})
	ctx, stop := context.WithCancel(t.Context())
	lives := silence(ctx, tn, pod.ID)
	next := func() life {
		t.Helper()
		select {
		case l := <-lives:
			t.Logf("machine %d ran for %s; cpu limit at its start: %v, later: %v", l.pid, l.end.Sub(l.begin).Round(time.Second), l.limitAtStart, l.limitAtEnd)
			return l
		case <-time.After(pace.Limit(2 * bootTimeout)):
			t.Fatalf("the machine of a silent guest still runs after %s", pace.Limit(2*bootTimeout))
			return life{}
		}
	}
	slack := pace.Limit(5 * time.Second)
	inTime := func(l life) {
		t.Helper()
		if ran := l.end.Sub(l.begin); ran < bootTimeout-slack || ran > bootTimeout+slack {
			t.Errorf("a machine ran for %s, want %s", ran, bootTimeout)
		}
		if !l.limitAtEnd {
			t.Error("a silent guest had no cpu limit at the end of its burst")
		}
	}
	if l := next(); l.limitAtStart {
		t.Error("the first boot had no burst")
	} else {
		inTime(l)
	}
	stack.Eventually(t, 10*time.Second, func() error {
		p, err := tn.Get(t.Context(), pod.ID)
		if err == nil && (p.Status.Phase != openapi.PodPhaseStarting || stack.Value(p.Status.Reason) != "GuestSilent" || *p.Status.Restarts != 1) {
			err = fmt.Errorf("the pod is %s, %q, restarted %d times", p.Status.Phase, stack.Value(p.Status.Reason), *p.Status.Restarts)
		}
		return err
	})
	tn.Kill(t, "agent")
	inTime(next())
	inTime(next())
	if l := next(); !l.limitAtStart { // the budget is used up
		t.Error("the fourth machine ran before its cpu limit was set")
	}
	stop()
	for range lives { // it ends with ctx
	}
	tn.DeletePod(t, pod.ID)
}
