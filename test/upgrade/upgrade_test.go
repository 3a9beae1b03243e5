// SPDX-License-Identifier: Apache-2.0

//go:build upgrade

package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

func TestMain(m *testing.M) {
	dir := os.Getenv("HUSK_TEST_PREVIOUS")
	stack.Previous = stack.Boot{Huskd: filepath.Join(dir, "huskd"), Initramfs: filepath.Join(dir, "initramfs.cpio")}
	stack.Main(m)
}

// Two servers and an agent of the previous version are replaced one after the other, while requests
// arrive. No request fails, nothing that was acknowledged is lost, and no container is restarted.
func TestARollingUpgradeLosesNothing(t *testing.T) {
	tn := stack.NewTenant(t)
	tn.SetQuota(t, openapi.QuotaChange{Volumes: new(1000), VolumeGiB: new(1000)})
	busybox := tn.ImportImage(t, "busybox")
	script := "i=0; while true; do echo $i; i=$((i+1)); sleep 0.2; done"
	pod := tn.Create(t, "counter", func(s *openapi.PodSpec) { s.Containers = []openapi.Container{stack.Shell(busybox, script)} })
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	machine := stack.QEMU(pod.ID)

	second := startServer(t, tn.Stack, secondServer)
	work := startLoad(t, tn)
	pause := func(what string) {
		t.Helper()
		t.Logf("%s: %d requests so far", what, work.count())
		before := work.count()
		stack.Eventually(t, time.Minute, func() error {
			if n := work.count() - before; n < 20 {
				return fmt.Errorf("only %d requests since %s", n, what)
			}
			return nil
		})
	}
	pause("two servers and the agent are old")

	if err := tn.Replace(stack.This()); err != nil {
		t.Fatal(err)
	}
	restart(t, tn.Stack, "server", syscall.SIGTERM)
	pause("one server is new")
	second()
	second = startServer(t, tn.Stack, secondServer)
	pause("both servers are new")
	restart(t, tn.Stack, "agent", syscall.SIGKILL) // SIGTERM makes the agent of huskd dev stop its pods
	pause("the agent is new")

	work.stop(t)
	done := len(strings.Fields(tn.Logs(t, pod.ID, nil)))
	stack.Eventually(t, time.Minute, func() error {
		if n := len(strings.Fields(tn.Logs(t, pod.ID, nil))); n < done+5 {
			return fmt.Errorf("the log still has %d lines; it had %d at the end of the upgrade", n, done)
		}
		return nil
	})
	if now := stack.QEMU(pod.ID); now != machine {
		t.Errorf("the machine was process %d and is %d", machine, now)
	}
	after := tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	if c := after.Status.Containers[0]; c.Restarts != 0 {
		t.Errorf("the container was restarted %d times", c.Restarts)
	}
	consecutive(t, tn, pod.ID)
	if r := tn.Run(t, nil, "exec", "counter", "--", "echo", "hello"); !strings.Contains(r.Out, "hello") {
		t.Errorf("a session in a pod that the previous version started: %+v", r)
	}
	later := tn.Create(t, "later", stack.Idle(busybox))
	tn.Wait(t, later.ID, openapi.PodPhaseRunning)
	tn.DeletePod(t, pod.ID)
	second()
}

// consecutive checks that no line of the counter is missing or doubled.
func consecutive(t *testing.T, tn *stack.Tenant, pod uuid.UUID) {
	t.Helper()
	lines := strings.Fields(tn.Logs(t, pod, nil))
	for i, line := range lines {
		if line != fmt.Sprint(i) {
			t.Errorf("line %d of the log is %q", i, line)
			return
		}
	}
}

// restart ends a child of huskd dev and waits until it runs again.
func restart(t *testing.T, s *stack.Stack, name string, signal syscall.Signal) {
	t.Helper()
	before, err := s.PID(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before, signal); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		now, err := s.PID(name)
		if err == nil && now == before {
			err = errors.New(name + " was not restarted")
		}
		return err
	})
	if name == "server" {
		stack.Eventually(t, time.Minute, func() error { return ready(s.Env["HUSK_API"]) })
	}
}

func ready(url string) error {
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s responds %s", url, resp.Status)
	}
	return nil
}

const secondServer, secondForAgents = "127.0.0.1:18080", "127.0.0.1:18443"

// startServer starts another server with the settings of the first one. The returned function stops
// it.
func startServer(t *testing.T, s *stack.Stack, listen string) (stop func()) {
	t.Helper()
	pid, err := s.PID("server")
	if err != nil {
		t.Fatal(err)
	}
	cmdline, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	environ, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")[1:]
	args[slices.Index(args, "--listen")+1], args[slices.Index(args, "--agent-listen")+1] = listen, secondForAgents
	var log bytes.Buffer
	cmd := exec.Command(s.Huskd(), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = strings.Split(string(environ), "\x00"), &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the second server: %v\n%s", err, log.String())
		}
	})
	t.Cleanup(stopped)
	stack.Eventually(t, time.Minute, func() error { return ready("http://" + listen) })
	return stopped
}

// load sends requests until it is stopped.
type load struct {
	api    *client.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	requests int
	failed   []error
	volumes  map[uuid.UUID]bool // acknowledged; true: not deleted
}

// startLoad uses both servers, as through a load balancer.
func startLoad(t *testing.T, tn *stack.Tenant) *load {
	t.Helper()
	first := strings.TrimPrefix(tn.Env["HUSK_API"], "http://")
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, first)
		if err != nil {
			conn, err = new(net.Dialer).DialContext(ctx, network, secondServer)
		}
		return conn, err
	}}
	api, err := client.New(tn.Env["HUSK_API"], client.WithAPIKey(tn.Key.ClientID.String(), tn.Key.ClientSecret), client.WithTransport(transport))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{api: api, cancel: cancel, volumes: map[uuid.UUID]bool{}}
	l.done.Go(func() { l.repeat(ctx, 50*time.Millisecond, l.list) })
	l.done.Go(func() { l.repeat(ctx, 300*time.Millisecond, l.createAndDelete) })
	t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

func (l *load) repeat(ctx context.Context, every time.Duration, request func(context.Context, int) error) {
	for i := 0; ctx.Err() == nil; i++ {
		err := request(context.WithoutCancel(ctx), i)
		l.mu.Lock()
		l.requests++
		if err != nil {
			l.failed = append(l.failed, err)
		}
		l.mu.Unlock()
		time.Sleep(every)
	}
}

func (l *load) list(ctx context.Context, _ int) error {
	_, err := client.Collect(l.api.Pods.List(ctx, client.Select{}))
	return err
}

// createAndDelete creates a volume each time, and deletes every other one.
func (l *load) createAndDelete(ctx context.Context, i int) error {
	v, err := l.api.Volumes.Create(ctx, openapi.VolumeCreate{Name: fmt.Sprintf("v-%d", i), SizeGiB: 1})
	if err != nil {
		return err
	}
	if i%2 == 1 {
		err = l.api.Volumes.Delete(ctx, v.ID)
	}
	l.mu.Lock()
	l.volumes[v.ID] = i%2 == 0
	l.mu.Unlock()
	return err
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// stop ends the load, and checks that no request failed and that every volume is as acknowledged.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	t.Logf("%d requests, %d volumes", l.requests, len(l.volumes))
	if err := errors.Join(l.failed...); err != nil {
		t.Errorf("%d of %d requests failed: %v", len(l.failed), l.requests, err)
	}
	stack.Eventually(t, 2*time.Minute, func() error {
		now, err := client.Collect(l.api.Volumes.List(t.Context(), client.Select{}))
		if err != nil {
			return err
		}
		states := map[uuid.UUID]openapi.VolumeState{}
		for _, v := range now {
			states[v.ID] = v.State
		}
		for id, kept := range l.volumes {
			if state := states[id]; kept && state != "Available" || !kept && state != "" {
				return fmt.Errorf("volume %s should exist: %v; its state is %q", id, kept, state)
			}
		}
		return nil
	})
}
