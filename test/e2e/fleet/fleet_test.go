// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"testing"

	"husk/dev"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// Three pods run on three nodes, and the nodes fail in different ways. Each time, the server notices it, and the node is back by itself
// or when it is switched on. The pods of the other nodes continue to run.
func TestNodesFailAndAreBack(t *testing.T) {
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
	witness := f.Node(3).QEMU(on["n3"].ID)
	before := witness.PID(t)

	t.Run("without power, frozen, and cut off in one direction", func(t *testing.T) {
		dark := f.Node(1)
		dark.Kill(t)
		if left := f.NodesOf(t, on["n1"].ID); len(left) != 0 {
			t.Errorf("the pod of a node without power has machines on %v", left)
		}
		other := f.Node(2)
		agent := other.Process("agent").PID(t)
		other.Freeze(t)
		dark.Await(t, stack.Down...)
		other.Await(t, stack.Down...)
		other.Cut(t, dev.FromServers, fabric.In)
		other.Thaw(t)
		dark.Start(t)
		dark.Await(t, openapi.NodeStateReady)
		other.Await(t, stack.Down...)
		other.Heal(t)
		other.Await(t, openapi.NodeStateReady)
		if now := other.Process("agent").PID(t); now != agent || agent == 0 {
			t.Errorf("the agent was process %d and is %d", agent, now)
		}
	})
	t.Run("with an agent that stays dead, while a server hangs", func(t *testing.T) {
		f.Server(2).Freeze(t) // s1 leads
		agent := f.Node(1).Process("agent")
		agent.Hold(t)
		f.Node(1).Await(t, stack.Down...)
		agent.Release(t)
		f.Node(1).Await(t, openapi.NodeStateReady)
		f.Server(2).Thaw(t)
	})
	if after := witness.PID(t); before == 0 || after != before {
		t.Errorf("the machine on the third node was process %d and is %d", before, after)
	}
}
