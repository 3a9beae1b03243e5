// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// lifecycle records the starts and stops of domains from libvirt's events.
type lifecycle struct {
	mu      sync.Mutex
	started map[string]time.Time
	starts  map[string][]time.Time   // all starts, by pod
	up      map[string]time.Duration // by pod
	count   map[string]int
	events  map[string]string // the events as text, for error messages
}

var lifecycleEvent = regexp.MustCompile(`^(\S+ \S+): event 'lifecycle' for domain '?husk-([0-9a-f-]{36})'?: (Started|Stopped)`)

// watchLifecycle records libvirt's events until the test ends.
func watchLifecycle(t *testing.T) *lifecycle {
	t.Helper()
	l := &lifecycle{started: map[string]time.Time{}, starts: map[string][]time.Time{}, up: map[string]time.Duration{}, count: map[string]int{}, events: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "virsh", "-c", "qemu:///system", "event", "--event", "lifecycle", "--loop", "--timestamp")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.record(s.Text())
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Wait() // the cancelled context has killed it
	})
	return l
}

func (l *lifecycle) record(line string) {
	m := lifecycleEvent.FindStringSubmatch(line)
	if m == nil {
		return
	}
	at, err := time.Parse("2006-01-02 15:04:05.000-0700", m[1])
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[m[2]] += m[3] + " " + m[1] + "; "
	if m[3] == "Started" {
		l.started[m[2]] = at
		l.starts[m[2]] = append(l.starts[m[2]], at)
		l.count[m[2]]++
		return
	}
	if from, ok := l.started[m[2]]; ok {
		l.up[m[2]] += at.Sub(from)
		delete(l.started, m[2])
	}
}

// startsTook returns how long libvirt took for all starts of a pod's machine. At which moment of a
// start the machine is up is a matter of definition: libvirt sends the event at the end of the
// start, and the agent's call returns after the event. A start takes a fraction of a second unless
// the host is busy. The caller holds l.mu.
func (l *lifecycle) startsTook(pod string) time.Duration {
	var took time.Duration
	n := 0
	for line := range strings.Lines(startsAndEnds(pod)) {
		stamp, what, _ := strings.Cut(line, ": ")
		began, err := time.Parse("2006-01-02 15:04:05.000-0700", stamp)
		if err != nil || !strings.HasPrefix(what, "starting up") || n == len(l.starts[pod]) {
			continue
		}
		took += max(0, l.starts[pod][n].Sub(began))
		n++
	}
	return took
}

// Short pods run while agent, server and Postgres are killed at random. For each pod, the ledger
// must record as many seconds as libvirt reports for its machine, without duplicates or gaps.
func TestTheLedgerMatchesLibvirtsEvents(t *testing.T) {
	tn := stack.NewTenant(t)
	tn.SetQuota(t, openapi.QuotaChange{Pods: new(100), Addresses: new(100)})
	const together = 6
	pods := ledgerPods(t)
	busybox, truth := tn.ImportImage(t, "busybox"), watchLifecycle(t)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // chooses when a part is killed
	stop := make(chan struct{})
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(pace.Limit(time.Duration(2000+r.IntN(4000)) * time.Millisecond)):
				parts := []string{"agent", "server", "postgres"}
				tn.Kill(t, parts[kills%len(parts)])
				kills++
			}
		}
	})
	slots := make(chan struct{}, together)
	var running sync.WaitGroup
	for i := range pods {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			shortPod(t, tn, busybox, fmt.Sprint("short-", i), i%4)
		})
	}
	running.Wait()
	close(stop)
	killer.Wait()
	if kills < 3 {
		t.Errorf("only %d parts were killed", kills)
	}
	from := time.Now().Add(-time.Hour).UTC()
	by := openapi.GetUsageParamsGroupByObject
	stack.Eventually(t, time.Minute, func() error {
		used, err := tn.API.Usage(t.Context(), openapi.GetUsageParams{From: &from, GroupBy: &by})
		if err != nil {
			return fmt.Errorf("usage: %w", err)
		}
		truth.mu.Lock()
		defer truth.mu.Unlock()
		left := maps.Clone(truth.up)
		worst := 0.0
		for _, u := range used.Items {
			if *u.Kind != "pod" {
				continue
			}
			up, known := left[*u.Key]
			if !known {
				return fmt.Errorf("the ledger has pod %s, but libvirt has no events of it", *u.Name)
			}
			delete(left, *u.Key)
			off := math.Abs(u.PodSeconds - up.Seconds())
			worst = max(worst, off)
			if off > 1+truth.startsTook(*u.Key).Seconds() {
				return fmt.Errorf("pod %s was up for %.2f s, and the ledger has %.2f s; it was started %d times: %s libvirt's log: %s", *u.Name, up.Seconds(), u.PodSeconds, truth.count[*u.Key], truth.events[*u.Key], startsAndEnds(*u.Key))
			}
		}
		if len(left) > 0 || len(used.Items) != pods {
			return fmt.Errorf("the ledger has %d of %d pods", len(used.Items), len(truth.up))
		}
		t.Logf("%d pods, %d kills; the ledger is off by at most %.3f s a pod", pods, kills, worst)
		return nil
	})
}

// ledgerPods returns the number of pods that the test runs: HUSK_LEDGER_PODS if it is set,
// otherwise enough for several kills of each part.
func ledgerPods(t *testing.T) int {
	t.Helper()
	set := os.Getenv("HUSK_LEDGER_PODS")
	if set == "" {
		return 24
	}
	n, err := strconv.Atoi(set)
	if err != nil || n < 1 {
		t.Fatalf("HUSK_LEDGER_PODS is %q, want a number of pods", set)
	}
	return n
}

// shortPod runs a pod to its end and deletes it, even if parts of the stack are killed in between.
func shortPod(t *testing.T, tn *stack.Tenant, image, name string, seconds int) {
	t.Helper()
	never := openapi.Never
	key := "short " + name + tn.ID.String()
	wanted := openapi.PodCreate{Name: name, Spec: openapi.PodSpec{
		RestartPolicy: &never, Resources: openapi.Resources{CPUMillis: 500, MemoryMiB: 128}, TerminationGracePeriodSeconds: new(1),
		Containers: []openapi.Container{stack.Shell(image, fmt.Sprintf("sleep %d", seconds))},
	}}
	var pod openapi.Pod
	stack.Eventually(t, stack.BootTime, func() error {
		// All attempts use the same idempotency key: if a response is lost, the next attempt
		// returns the same pod.
		created, err := client.Decode[openapi.Pod](tn.API.API().CreatePod(t.Context(), &openapi.CreatePodParams{IdempotencyKey: &key}, wanted))
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		pod = created
		return nil
	})
	stack.Eventually(t, 2*stack.BootTime, func() error {
		got, err := tn.Get(t.Context(), pod.ID)
		if err != nil {
			return err
		}
		if p := got.Status.Phase; p != openapi.PodPhaseSucceeded && p != openapi.PodPhaseFailed {
			return fmt.Errorf("%s is %s", name, p)
		}
		return nil
	})
	stack.Eventually(t, stack.BootTime, func() error { return tn.API.Pods.Delete(t.Context(), pod.ID) })
	stack.Eventually(t, stack.BootTime, func() error { return tn.Gone(t.Context(), pod.ID) })
}

// startsAndEnds returns the lines about starts and ends in libvirt's log of a domain. The agent
// reads the same lines.
func startsAndEnds(pod string) string {
	out, err := exec.Command("grep", "-E", "starting up|shutting down", "/var/log/libvirt/qemu/husk-"+pod+".log").CombinedOutput() //nolint:gosec,noctx // ours
	if err != nil {
		return err.Error()
	}
	return string(out)
}
