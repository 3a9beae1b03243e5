// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// failoverGoal is the time from the loss of the primary to the next request that is served.
const failoverGoal = 30 * time.Second

// The primary is lost with its machine, so no connection to it is closed. The standby takes over. No request that was acknowledged is
// lost, the node is not considered lost, and its machine writes its volume all the time. The old primary becomes the standby when its machine is
// back.
func TestThePrimaryIsLostWithItsMachine(t *testing.T) {
	f := stack.StartFleet(t, 1, "--databases", "2", "--lease", "30s", "--heartbeat", "5s") // the defaults, which a standby has to beat
	tn := f.NewTenant(t)
	writer := onewriter.Start(t, tn, onewriter.Image(t, tn), "writer", nil)
	writer.Writes(t, 1, 20)
	machine := f.NodeOf(t, writer.Pod.ID).QEMU(writer.Pod.ID).PID(t)
	node, err := f.Operator.Nodes.Find(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	attempts := 0
	create := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		attempts++ // another name each time, because an attempt that failed may have had an effect
		name := fmt.Sprintf("c%d", attempts)
		_, err := tn.API.Configs.Create(ctx, openapi.ConfigCreate{Name: name, Kind: openapi.ConfigKindConfig, Values: &openapi.ConfigValues{"k": new("v")}})
		if err == nil {
			acknowledged = append(acknowledged, name)
		}
		return err
	}
	for range 20 {
		if err := create(); err != nil {
			t.Fatal(err)
		}
	}
	primary, err := f.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	primary.Kill(t)
	killed := time.Now()
	var promoted time.Time
	stack.Eventually(t, time.Minute, func() error {
		if now, err := f.Primary(t.Context()); err != nil || now.Name == primary.Name {
			return errors.Join(errors.New("there is no other primary"), err)
		}
		promoted = time.Now()
		return nil
	})
	stack.Eventually(t, time.Minute, create)
	served := time.Since(killed)
	t.Logf("the standby was promoted after %.1f s, and the first request was served after %.1f s", promoted.Sub(killed).Seconds(), served.Seconds())
	if served > failoverGoal {
		t.Errorf("the first request was served after %s, not within %s", served, failoverGoal)
	}
	for _, name := range acknowledged {
		if _, err := tn.API.Configs.Find(t.Context(), openapi.ConfigKindConfig, name); err != nil {
			t.Errorf("config %s was acknowledged: %v", name, err)
		}
	}
	f.Node(1).Await(t, openapi.NodeStateReady)
	if now := f.Node(1).QEMU(writer.Pod.ID).PID(t); machine == 0 || now != machine {
		t.Errorf("the machine that writes a volume was process %d and is %d", machine, now)
	}
	if pod, err := tn.Get(t.Context(), writer.Pod.ID); err != nil || pod.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("its pod is %s (%v)", pod.Status.Phase, err)
	}
	if now, err := f.Operator.Nodes.Find(t.Context(), "n1"); err != nil || now.ID != node.ID {
		t.Errorf("node n1 was %s and is %s, %v", node.ID, now.ID, err)
	}
	primary.Start(t)
	stack.Eventually(t, time.Minute, func() error {
		standby, err := f.Synchronous(t.Context())
		if err == nil && standby.Name != primary.Name {
			err = errors.New("the standby is " + standby.Name)
		}
		return err
	})
	writer.Writes(t, 1, 60)
	if err := writer.Check(t); err != nil {
		t.Error(err)
	}
}
