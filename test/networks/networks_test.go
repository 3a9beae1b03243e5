// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"husk/server/network"
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
