// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// A pod is an endpoint while its own readiness probe says so, and not any more from the moment at which somebody stops it. The agent of its node
// knows the names of its network.
func TestAServiceFollowsItsPods(t *testing.T) {
	t.Parallel()
	s, tn := stack.Get(t), stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	service, err := tn.API.Services.Create(t.Context(), openapi.ServiceCreate{Name: "web", Selector: "app=web", Ports: &openapi.ServicePorts{{Name: new("http"), Port: 80, TargetPort: new(8080)}}})
	if err != nil {
		t.Fatal(err)
	}
	pod := tn.Create(t, "web", func(spec *openapi.PodSpec) {
		main := stack.Shell(busybox, `trap 'sleep 3; exit 0' TERM; sleep 4; touch /tmp/ready; while sleep 0.2; do :; done`)
		main.ReadinessProbe = &openapi.Probe{Exec: &openapi.HookCommand{"test", "-e", "/tmp/ready"}, PeriodSeconds: new(1)}
		spec.Containers = []openapi.Container{main}
		spec.TerminationGracePeriodSeconds = new(10)
	})
	if _, err := tn.API.Pods.Update(t.Context(), pod.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"app": new("web")}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var seen []string
	for change, err := range tn.API.Services.Watch(ctx, client.WatchOptions{}) {
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		if change.Type == client.Synced {
			continue
		}
		status := fmt.Sprintf("%d/%d", change.Object.Status.ReadyEndpoints, change.Object.Status.NotReadyEndpoints)
		if len(seen) > 0 && seen[len(seen)-1] == status {
			continue
		}
		if seen = append(seen, status); status == "1/0" {
			if e := change.Object.Status.Endpoints[0]; e.PodID != pod.ID || e.Address == "" {
				t.Errorf("the endpoint is %+v", e)
			}
			agentKnowsNames(t, s)
			if err := tn.API.Pods.Delete(ctx, pod.ID); err != nil {
				t.Fatal(err)
			}
		}
		if len(seen) > 3 && status == "0/0" {
			break
		}
	}
	if want := "0/0 0/1 1/0 0/1 0/0"; strings.Join(seen, " ") != want {
		t.Errorf("the ready endpoints and the others were %v, want %s", seen, want)
	}
	if err := tn.API.Services.Delete(t.Context(), service.ID); err != nil {
		t.Error(err)
	}
}

// agentKnowsNames checks that the agent has got names from the server, and no errors instead.
func agentKnowsNames(t *testing.T, s *stack.Stack) {
	t.Helper()
	nodes, err := s.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("%d nodes: %v", len(nodes), err)
	}
	stack.Eventually(t, 10*time.Second, func() error {
		resp, err := s.Operator.API().GetNodeMetrics(t.Context(), nodes[0].ID)
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		raw, err := io.ReadAll(resp.Body)
		if err == nil && (strings.Contains(string(raw), "\nhusk_agent_names_zones 0\n") || !strings.Contains(string(raw), "\nhusk_agent_names_zones ")) {
			err = fmt.Errorf("the agent knows no names:\n%s", raw)
		}
		return err
	})
}

// A pod reaches a service by its name, other pods by theirs, and itself. Names outside its tenant do not exist.
func TestAPodReachesServicesByName(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	if _, err := tn.API.Services.Create(t.Context(), openapi.ServiceCreate{Name: "web", Selector: "app=web", Ports: &openapi.ServicePorts{{Name: new("http"), Port: 80, TargetPort: new(8080)}}}); err != nil {
		t.Fatal(err)
	}
	server := tn.Create(t, "server", func(spec *openapi.PodSpec) {
		spec.Containers = []openapi.Container{stack.Shell(busybox, "mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www")}
	})
	if _, err := tn.API.Pods.Update(t.Context(), server.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"app": new("web")}}); err != nil {
		t.Fatal(err)
	}
	reader := tn.Create(t, "reader", func(spec *openapi.PodSpec) {
		spec.RestartPolicy = new(openapi.Never)
		spec.Containers = []openapi.Container{stack.Shell(busybox, `cat /etc/resolv.conf
until timeout 20 wget -q -O /tmp/page http://web/; do sleep 1; done; echo "the service says $(cat /tmp/page)"
timeout 20 wget -q -O /tmp/page http://server.pods.husk.internal:8080/ && echo "the pod says $(cat /tmp/page)"
nslookup reader.pods.husk.internal | grep -A1 reader && echo found itself
nslookup nobody.husk.internal || echo nobody does not exist`)}
	})
	tn.Wait(t, reader.ID, openapi.PodPhaseSucceeded)
	log := tn.Logs(t, reader.ID, nil)
	for _, want := range []string{"nameserver 169.254.64.2", "search husk.internal pods.husk.internal", "the service says hello", "the pod says hello", "found itself", "nobody does not exist"} {
		if !strings.Contains(log, want) {
			t.Errorf("want %q in\n%s", want, log)
		}
	}
}
