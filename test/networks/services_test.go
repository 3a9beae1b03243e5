// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"husk"
	"husk/server/network"
	"husk/service"
)

// report reports a pod as its node's agent does.
func (p *pod) report(event husk.PhaseEvent, ready bool) {
	t := p.tenant.lab.t
	t.Helper()
	now := time.Now()
	must(t, p.tenant.lab.store.Control().Report(t.Context(), p.node.id, []husk.PodReport{{
		PodID: p.ID, Placement: 1, Generation: 1, Event: event, RunningAt: &now,
		Containers: []husk.ContainerStatus{{Name: "main", State: husk.ContainerRunning, Ready: &ready, StartedAt: &now}},
	}}))
}

// TestAServiceSpreadsConnections connects to a service of three pods, on three nodes, from another pod. The pods see the client's own address.
func TestAServiceSpreadsConnections(t *testing.T) {
	l := start(t, network.Limits{})
	a, b := l.tenant(), l.tenant()
	labels := map[string]string{"app": "web"}
	var pods []*pod
	for _, n := range l.nodes {
		p := a.pod(n, labels)
		p.serve(t, 8080)
		p.report(husk.EventRunning, true)
		pods = append(pods, p)
	}
	s, err := a.store.Services().Create(t.Context(), once(), service.Service{
		Name: "web", Labels: map[string]string{}, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"web"}}}, Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080}}, Affinity: service.AffinityNone,
	})
	must(t, err)
	at := netip.AddrPortFrom(netip.MustParseAddr(s.Status.Address), 80).String()
	client, stranger := a.pod(l.nodes[0], nil), b.pod(l.nodes[0], nil)
	eventually(t, 5*time.Second, "the service is reached", func() error {
		answer, err := client.get(at, patient)
		if err == nil && !strings.HasSuffix(strings.Split(answer, ":")[0], " "+client.addr().String()) {
			err = fmt.Errorf("the pod answers %q, and the client is %s", answer, client.addr())
		}
		return err
	})
	if _, err := stranger.get(at, impatient); err == nil {
		t.Error("another tenant reaches the service")
	}
	// A pod of the service reaches it too, also when it gets the connection itself.
	for range 10 {
		if _, err := pods[0].get(at, patient); err != nil {
			t.Errorf("a pod does not reach its own service: %v", err)
		}
	}

	const connections = 10_000
	answers := map[string]int{}
	var mu sync.Mutex
	var calling sync.WaitGroup
	for range 20 {
		calling.Go(func() {
			for range connections / 20 {
				answer, err := client.get(at, patient)
				mu.Lock()
				if name, _, _ := strings.Cut(answer, " "); err == nil {
					answers[name]++
				} else {
					answers["errors"]++
				}
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	t.Logf("%d connections: %v", connections, answers)
	for _, p := range pods {
		if n := answers[p.Name]; n < connections/3*85/100 || n > connections/3*115/100 {
			t.Errorf("%s has got %d of %d connections, which is not a third within 15 %%", p.Name, n, connections)
		}
	}
	if answers["errors"] > 0 {
		t.Errorf("%d connections failed", answers["errors"])
	}

	// A pod that is not ready gets nothing more.
	pods[1].report(husk.EventRunning, false)
	changed := time.Now()
	eventually(t, 5*time.Second, "the pod gets no connections", func() error {
		for range 20 {
			answer, err := client.get(at, patient)
			if err != nil {
				return err
			}
			if strings.HasPrefix(answer, pods[1].Name+" ") {
				return errors.New("it still gets connections")
			}
		}
		return nil
	})
	t.Logf("a pod that was not ready any more got no connection after %s", time.Since(changed).Round(time.Millisecond))

	// Without ready pods, a connection is refused at once.
	for _, p := range []*pod{pods[0], pods[2]} {
		p.report(husk.EventRunning, false)
	}
	eventually(t, 5*time.Second, "the service refuses connections", func() error {
		began := time.Now()
		if _, err := client.get(at, patient); err == nil || time.Since(began) > patient/2 {
			return fmt.Errorf("after %s: %w", time.Since(began), err)
		}
		return nil
	})
	must(t, a.store.Services().Delete(t.Context(), s.ID))
	eventually(t, 5*time.Second, "the load balancer is gone", func() error {
		if left := l.nbctl("lb-list"); strings.Contains(left, s.ID.String()) {
			return errors.New(left)
		}
		return nil
	})
}
