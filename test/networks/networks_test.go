// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"husk/server/network"
	"husk/test/pace"
)

// TestPodsOfATenantReachEachOther connects pods of two tenants on all nodes. Each reaches those of its own tenant, wherever they are, and none of the
// other's.
func TestPodsOfATenantReachEachOther(t *testing.T) {
	l := start(t, network.Limits{})
	a, b := l.tenant(), l.tenant()
	var pods []*pod
	for _, tn := range []*tenant{a, b} {
		for _, n := range l.nodes {
			p := tn.pod(n, nil)
			p.serve(t, 80)
			pods = append(pods, p)
		}
	}
	slices.Sort(l.connected)
	t.Logf("from its placement until it was connected, a pod waited %s (median), and %s at most", l.connected[len(l.connected)/2].Round(time.Millisecond), l.connected[len(l.connected)-1].Round(time.Millisecond))
	for _, from := range pods {
		for _, to := range pods {
			at := fmt.Sprintf("%s:80", to.addr())
			if from.tenant != to.tenant {
				if _, err := from.get(at, impatient); err == nil {
					t.Errorf("%s reaches %s of another tenant", from.Name, to.Name)
				}
				continue
			}
			eventually(t, 5*time.Second, from.Name+" reaches "+to.Name, func() error {
				answer, err := from.get(at, patient)
				if err == nil && !strings.HasPrefix(answer, to.Name+" "+from.addr().String()) {
					err = fmt.Errorf("the answer is %q", answer)
				}
				return err
			})
		}
	}
}

// TestANewNodeIsConnected adds a node. A pod there reaches all others, and is reached by them, as soon as its machine could run.
func TestANewNodeIsConnected(t *testing.T) {
	l := start(t, network.Limits{})
	tn := l.tenant()
	var others []*pod
	for _, n := range l.nodes {
		p := tn.pod(n, nil)
		p.serve(t, 80)
		others = append(others, p)
	}
	added := time.Now()
	p := tn.pod(l.addNode(len(l.nodes)), nil)
	runs := time.Now()
	p.serve(t, 80)
	for _, o := range others {
		p.reaches(t, o, o.addr())
		o.reaches(t, p, p.addr())
	}
	took := time.Since(runs)
	t.Logf("a new node's first pod was connected after %s, with Open vSwitch and OVN started, and reached all others after %s more", runs.Sub(added).Round(time.Millisecond), took.Round(time.Millisecond))
	if goal := pace.Limit(2 * time.Second); took > goal {
		t.Errorf("the pod reached all others only after %s", took)
	}
}
