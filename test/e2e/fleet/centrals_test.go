// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// OVN's databases have three members on hosts of their own, and servers and nodes reach them over TLS. Each host is killed in turn, so also the one that
// leads. A new pod still gets its network, and reaches a service whose pod is on the other side.
func TestNewPodsGetANetworkWhateverCentralHostIsGone(t *testing.T) {
	f := stack.StartFleet(t, 2, "--centrals", "3")
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	ports := openapi.ServicePorts{{Port: 80}}
	if _, err := tn.API.Services.Create(t.Context(), openapi.ServiceCreate{Name: "web", Selector: "app=web", Ports: &ports}); err != nil {
		t.Fatal(err)
	}
	web := tn.Create(t, "web", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{stack.Shell(busybox, "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www")}
	})
	if _, err := tn.API.Pods.Update(t.Context(), web.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"app": new("web")}}); err != nil {
		t.Fatal(err)
	}
	tn.Wait(t, web.ID, openapi.PodPhaseRunning)
	for i := range 3 {
		central := f.Central(i + 1)
		central.Kill(t)
		killed := time.Now()
		p := tn.Create(t, fmt.Sprintf("client-%d", i), func(s *openapi.PodSpec) {
			s.Containers = []openapi.Container{stack.Shell(busybox, "until timeout 2 wget -q -O - http://web/; do sleep 0.2; done; exec sleep 1000000")}
			s.Scheduling = &openapi.Scheduling{NodeSelector: &openapi.NodeSelector{"node": fmt.Sprintf("n%d", i%2+1)}}
		})
		tn.Wait(t, p.ID, openapi.PodPhaseRunning)
		tn.WaitForLog(t, p.ID, "", "hello\n")
		took := time.Since(killed)
		if goal := pace.Limit(30 * time.Second); took > goal { // the start of a machine included
			t.Errorf("without %s, a new pod reached the service only after %s", central.Name, took)
		}
		t.Logf("without %s, a new pod reached the service %s after it was killed", central.Name, took.Round(100*time.Millisecond))
		central.Start(t)
	}
}
