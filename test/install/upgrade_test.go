// SPDX-License-Identifier: Apache-2.0

//go:build install

package install

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// load sends requests until stop: to the pod through its service, and to the API.
type load struct {
	in            *installation
	done          chan struct{}
	running       sync.WaitGroup
	pages, writes atomic.Int64
}

func (in *installation) startLoad() *load {
	l := &load{in: in, done: make(chan struct{})}
	l.running.Go(func() { l.repeat(&l.pages, l.readPage) })
	l.running.Go(func() { l.repeat(&l.writes, l.write) })
	return l
}

// repeat counts what succeeds. A failure fails the test.
func (l *load) repeat(count *atomic.Int64, request func(n int64) error) {
	for {
		select {
		case <-l.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if err := request(count.Load()); err != nil {
			l.in.t.Errorf("after %d requests: %v", count.Load(), err)
			return
		}
		count.Add(1)
	}
}

func (l *load) readPage(int64) error {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(l.in.page)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "nginx")) {
		err = fmt.Errorf("the page is %s: %s", resp.Status, body)
	}
	return err
}

func (l *load) write(n int64) error {
	_, err := l.in.tenant.Configs.Create(l.in.t.Context(), openapi.ConfigCreate{Kind: openapi.ConfigKindConfig, Name: fmt.Sprintf("c-%d", n)})
	return err
}

// pause waits for some requests of each kind.
func (l *load) pause(what string) {
	l.in.t.Helper()
	pages, writes := l.pages.Load(), l.writes.Load()
	l.in.t.Logf("%s: %d pages and %d writes so far", what, pages, writes)
	stack.Eventually(l.in.t, time.Minute, func() error {
		if l.in.t.Failed() {
			return nil
		}
		if p, w := l.pages.Load()-pages, l.writes.Load()-writes; p < 20 || w < 20 {
			return fmt.Errorf("only %d pages and %d writes", p, w)
		}
		return nil
	})
}

// machineOf returns the process of the pod's machine.
func (in *installation) machineOf() string {
	in.t.Helper()
	out, err := exec.Command("pgrep", "-f", "^/usr/bin/qemu.*guest=[^ ]*"+in.pod.ID.String()).Output()
	if err != nil {
		in.t.Fatalf("the machine of the pod does not run: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// upgrade replaces everything by the packages in a folder, in the order of docs/upgrade.md, while requests arrive.
func (in *installation) upgrade(folder string) {
	t := in.t
	t.Helper()
	packages, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil || len(packages) == 0 {
		t.Fatalf("there are no packages in %s (%v)", folder, err)
	}
	for _, m := range append(in.servers[:], in.nodes[:]...) {
		if err := os.RemoveAll(filepath.Join(m.root, "root/debs")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(m.root, "root/debs"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, p := range packages {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			m.write("/root/debs/"+filepath.Base(p), string(raw), 0o644)
		}
	}
	before, err := in.tenant.Platform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	acme, err := in.operator.Tenants.Find(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.operator.Tenants.Update(t.Context(), acme.ID, openapi.TenantUpdate{Quota: openapi.QuotaChange{Configs: new(10000)}}); err != nil { // the load's
		t.Fatal(err)
	}
	machine := in.machineOf()
	l := in.startLoad()
	l.pause("everything is old")
	for i, s := range in.servers {
		s.types("apt-get install ./husk-common_*.deb ./husk-server_*.deb\ncurl -s --retry 30 --retry-connrefused http://127.0.0.1:8080/readyz")
		l.pause(fmt.Sprintf("%d servers are new", i+1))
	}
	for i, n := range in.nodes {
		n.types("apt-get install ./husk-common_*.deb ./husk-agent_*.deb")
		n.active("husk-agent")
		l.pause(fmt.Sprintf("%d agents are new", i+1))
	}
	in.awaitNodes()
	l.pause("all nodes are Ready")
	close(l.done)
	l.running.Wait()

	after, err := in.tenant.Platform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stack.Value(before.Commit) == stack.Value(after.Commit) {
		t.Errorf("the servers are still of the commit %s", stack.Value(after.Commit))
	}
	if now := in.machineOf(); now != machine {
		t.Errorf("the machine of the pod is process %s, and was %s", now, machine)
	}
	pod, err := in.tenant.Pods.Get(t.Context(), in.pod.ID)
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.Phase != openapi.PodPhaseRunning || pod.Status.Containers[0].Restarts != in.pod.Status.Containers[0].Restarts {
		t.Errorf("the pod is %+v", pod.Status)
	}
	all, err := client.Collect(in.tenant.Configs.List(t.Context(), openapi.ConfigKindConfig, client.Select{}))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != l.writes.Load() {
		t.Errorf("%d objects were created, and there are %d", l.writes.Load(), len(all))
	}
	t.Logf("%d pages and %d writes, and none failed: from %s to %s", l.pages.Load(), l.writes.Load(), stack.Value(before.Commit), stack.Value(after.Commit))
}
