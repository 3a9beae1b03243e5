// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"husk/dev"
	"husk/server/network"
)

// TestWhatIsDeletedByHandIsBack deletes all flows of a node, and all rules of nftables. Until they are back, nothing passes that should not.
func TestWhatIsDeletedByHandIsBack(t *testing.T) {
	l := start(t, network.Limits{})
	a := l.tenant()
	p, other := a.pod(l.nodes[0], nil), a.pod(l.nodes[1], nil)
	other.serve(t, 80)
	at := fmt.Sprintf("%s:80", other.addr())
	eventually(t, 5*time.Second, "the pod is reached", func() error { _, err := p.get(at, patient); return err })
	time.Sleep(1500 * time.Millisecond) // the agent has counted the flows

	dir := filepath.Dir(l.nodes[0].host.OVS())
	if out, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-ofctl", "del-flows", "unix:"+filepath.Join(dir, "br-int.mgmt")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deleted := time.Now()
	mode, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-vsctl", "--db=unix:"+l.nodes[0].host.OVS(), "--timeout=10", "get", "bridge", "br-int", "fail_mode").CombinedOutput()
	if err != nil || strings.TrimSpace(string(mode)) != "secure" {
		t.Errorf("without flows, the bridge is %q (%v), and would pass everything", mode, err)
	}
	eventually(t, 5*time.Second, "nothing passes without flows", func() error {
		if _, err := p.get(at, 100*time.Millisecond); err == nil {
			return errors.New("the pod is reached")
		}
		return nil
	})
	eventually(t, 5*time.Second, "the pod is reached again", func() error { _, err := p.get(at, impatient); return err })
	t.Logf("the flows are back %s after they were deleted", time.Since(deleted).Round(time.Millisecond))

	// Without the flows of port security, everything would pass.
	restoredBefore := l.nodes[0].net.Restored()
	time.Sleep(1500 * time.Millisecond)
	if out, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-ofctl", "del-flows", "unix:"+filepath.Join(dir, "br-int.mgmt"), "table=73").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, 5*time.Second, "the flows of port security are back", func() error {
		out, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-ofctl", "dump-flows", "unix:"+filepath.Join(dir, "br-int.mgmt"), "table=73").CombinedOutput()
		if err == nil && (l.nodes[0].net.Restored() == restoredBefore || !strings.Contains(string(out), "reg14")) {
			err = fmt.Errorf("restored %d times; the flows are %s", l.nodes[0].net.Restored(), out)
		}
		return err
	})
	eventually(t, 5*time.Second, "the pod is reached again", func() error { _, err := p.get(at, impatient); return err })

	// Pods that come and go, the last ones too, are no alarm.
	restoredBefore = l.nodes[0].net.Restored()
	for range 2 {
		leaving := a.pod(l.nodes[0], nil)
		leaving.disconnect()
		l.nodes[0].do(func() error { return l.nodes[0].net.Detach(t.Context(), leaving.ID) })
		time.Sleep(1200 * time.Millisecond)
	}
	if n := l.nodes[0].net.Restored(); n != restoredBefore {
		t.Errorf("after pods have left, flows were restored %d times", n-restoredBefore)
	}

	before := l.nodes[0].net.Restored()
	l.nodes[0].do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	})
	eventually(t, 5*time.Second, "the node is guarded from the tap again", func() error {
		if l.nodes[0].net.Restored() == before || l.nodes[0].net.Broken() {
			return fmt.Errorf("restored %d times", l.nodes[0].net.Restored())
		}
		return nil
	})
}

// TestNothingIsLeftOfAPod removes pods, and looks for what their taps had in Open vSwitch and nftables.
func TestNothingIsLeftOfAPod(t *testing.T) {
	l := start(t, network.Limits{})
	a := l.tenant()
	n := l.nodes[0]
	for range 3 {
		p := a.pod(n, nil)
		p.disconnect()
		n.do(func() error { return n.net.Detach(t.Context(), p.ID) })
		n.do(func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			chains, err := c.ListChains()
			if err != nil {
				return err
			}
			for _, chain := range chains {
				if strings.HasPrefix(chain.Name, p.port.Tap()) {
					t.Errorf("the chain %s is left", chain.Name)
				}
			}
			return nil
		})
		ports, err := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovs-vsctl", "--db=unix:"+n.host.OVS(), "--timeout=10", "list-ports", "br-int").CombinedOutput()
		if err != nil || strings.Contains(string(ports), p.port.Tap()) {
			t.Errorf("the ports are %s (%v), and the pod is gone", ports, err)
		}
	}
}

// TestNothingIsLostWithoutOVN kills OVN's programs while a pod sends to another one.
func TestNothingIsLostWithoutOVN(t *testing.T) {
	l := start(t, network.Limits{})
	a := l.tenant()
	p, other := a.pod(l.nodes[0], nil), a.pod(l.nodes[1], nil)
	other.serve(t, 80)
	at := fmt.Sprintf("%s:80", other.addr())
	eventually(t, 5*time.Second, "the pod is reached", func() error { _, err := p.get(at, patient); return err })
	for _, name := range []string{"n1-ovn-controller", "ovn-northd", "ovn-nb", "ovn-sb"} {
		if err := l.stack.Provoke(name, dev.FaultKill); err != nil {
			t.Fatalf("kill %s: %v", name, err)
		}
		for range 20 {
			if _, err := p.get(at, patient); err != nil {
				t.Errorf("while %s is away: %v", name, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	// Everything works again: another pod is connected.
	last := a.pod(l.nodes[2], nil)
	eventually(t, 10*time.Second, "a new pod reaches another one", func() error { _, err := last.get(at, patient); return err })
}
