// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// connectionsGoToOtherNodes kills the node of one of three pods of a service. A client on another node connects all the time. New connections fail
// until the node is suspected, for less than its lease.
func connectionsGoToOtherNodes(t *testing.T, f *stack.Fleet, tn *stack.Tenant, _ string) {
	busybox := tn.ImportImage(t, "busybox")
	ports := openapi.ServicePorts{{Port: 80}}
	if _, err := tn.API.Services.Create(t.Context(), openapi.ServiceCreate{Name: "web", Selector: "app=web", Ports: &ports}); err != nil {
		t.Fatal(err)
	}
	var pods []openapi.Pod
	for i := range 3 {
		name := fmt.Sprintf("web-%d", i)
		p, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: name, Labels: &openapi.Labels{"app": "web"}, Spec: openapi.PodSpec{
			Resources:  openapi.Resources{CPUMillis: 100, MemoryMiB: 96},
			Containers: []openapi.Container{stack.Shell(busybox, "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www")},
			Scheduling: &openapi.Scheduling{Rules: &[]openapi.SchedulingRule{{Kind: openapi.AntiAffinity, Label: "app", TopologyKey: "node"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, p)
	}
	for _, p := range pods {
		tn.Wait(t, p.ID, openapi.PodPhaseRunning)
	}
	client := tn.Create(t, "client", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{stack.Shell(busybox, `
n=0; while :; do s=$(date +%s); n=$((n+1))
if timeout 2 wget -q -O /dev/null http://web/; then echo "$n ok $s"; else echo "$n failed $s"; fi; sleep 0.2; done`)}
	})
	tn.Wait(t, client.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, client.ID, "", " ok ")
	stack.Eventually(t, 20*time.Second, func() error {
		s, err := tn.API.Services.Find(t.Context(), "web")
		if err == nil && s.Status.ReadyEndpoints != len(pods) {
			err = fmt.Errorf("the service has %+v", s.Status)
		}
		return err
	})
	mine := f.NodeOf(t, client.ID)
	var dead *stack.Host
	for _, p := range pods {
		if n := f.NodeOf(t, p.ID); n.Name != mine.Name {
			dead = n
			break
		}
	}
	dead.Kill(t)
	killed := time.Now()
	dead.Await(t, openapi.NodeStateFenced)
	time.Sleep(3 * time.Second) // the client continues
	good, bad, last := 0, 0, 0.0
	for line := range strings.Lines(tn.Logs(t, client.ID, nil)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		at, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			continue
		}
		since := at - float64(killed.UnixNano())/1e9
		switch {
		case since < 0:
		case fields[1] == "ok":
			good++
		default:
			bad, last = bad+1, since
		}
	}
	t.Logf("after the node of one of three pods died, %d of %d new connections failed, the last one after %.1f s", bad, good+bad, last)
	if lease := pace.Limit(8 * time.Second).Seconds(); good == 0 || last > lease {
		t.Errorf("connections failed for %.1f s, longer than the lease of %.1f s; %d succeeded", last, lease, good)
	}
	dead.Start(t)
	dead.Await(t, openapi.NodeStateReady)
	for _, p := range append(pods, client) {
		if err := tn.API.Pods.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
}
