// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"husk/dev"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// Three pods run on three nodes. The server notices when one node loses its power, and when it is back. Meanwhile, the
// other pods continue to run.
func TestANodeLosesItsPowerAndRejoins(t *testing.T) {
	const nodes = 3
	f := stack.StartFleet(t, nodes)
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	var pods []openapi.Pod
	for i := range nodes {
		spec := openapi.PodSpec{
			Resources:  openapi.Resources{CPUMillis: 500, MemoryMiB: 128},
			Containers: []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")},
			Scheduling: &openapi.Scheduling{Rules: &[]openapi.SchedulingRule{{Kind: openapi.AntiAffinity, Label: "app", TopologyKey: "node"}}},
		}
		pod, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: fmt.Sprintf("p%d", i+1), Labels: &openapi.Labels{"app": "fleet"}, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, pod)
	}
	tn.Running(t, pods...)
	on := map[string]openapi.Pod{}
	for _, p := range pods {
		on[f.NodeOf(t, p.ID).Name] = p
	}
	if len(on) != nodes {
		t.Fatalf("the pods run on %d nodes: %v", len(on), on)
	}
	others := map[string]int{}
	for _, name := range []string{"n2", "n3"} {
		others[name] = f.Host(name).QEMU(on[name].ID).PID(t)
	}

	lost := f.Node(1)
	lost.Kill(t)
	if left := f.NodesOf(t, on["n1"].ID); len(left) != 0 {
		t.Errorf("the pod of a node without power has machines on %v", left)
	}
	lost.Await(t, openapi.NodeStateLost)
	lost.Start(t)
	lost.Await(t, openapi.NodeStateReady)
	for name, pid := range others {
		if now := f.Host(name).QEMU(on[name].ID).PID(t); pid == 0 || now != pid {
			t.Errorf("the machine on %s was process %d and is %d", name, pid, now)
		}
	}
}

// A frozen node and a node that is cut off look the same to the server, and both are back by themselves. A server
// whose host hangs does not stop the others.
func TestFaultsOfNodesAndServers(t *testing.T) {
	f := stack.StartFleet(t, 2)
	frozen, cut := f.Node(1), f.Node(2)
	f.Server(2).Freeze(t) // s1 leads
	frozen.Freeze(t)
	cut.Cut(t, dev.FromServers, fabric.In)
	agent := cut.Process("agent").PID(t)
	frozen.Await(t, openapi.NodeStateLost)
	cut.Await(t, openapi.NodeStateLost)
	f.Server(2).Thaw(t)
	frozen.Thaw(t)
	cut.Heal(t)
	frozen.Await(t, openapi.NodeStateReady)
	cut.Await(t, openapi.NodeStateReady)
	if now := cut.Process("agent").PID(t); now != agent || agent == 0 {
		t.Errorf("the agent was process %d and is %d", agent, now)
	}

	// A process can stay dead.
	held := frozen.Process("agent")
	held.Hold(t)
	frozen.Await(t, openapi.NodeStateLost)
	held.Release(t)
	frozen.Await(t, openapi.NodeStateReady)
	stack.Eventually(t, time.Minute, func() error {
		if held.PID(t) == 0 {
			return errors.New("the agent does not run")
		}
		return nil
	})
}
