// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// Simulated nodes behave as real ones as far as the server can see: pods run on them, are sampled and billed, and are deleted.
func TestSimulatedNodesRunPods(t *testing.T) {
	f := stack.StartFleet(t, 1, "--no-agent", "--simulated-nodes", "20")
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	var pods []openapi.Pod
	for i := range 10 {
		pods = append(pods, tn.Create(t, fmt.Sprintf("p%d", i), stack.Idle(busybox)))
	}
	for _, p := range tn.Running(t, pods...) {
		if c := p.Status.Containers; len(c) != 1 || c[0].State != openapi.ContainerStatusStateRunning {
			t.Errorf("pod %s is Running, and its containers are %+v", p.Name, c)
		}
	}
	stack.Eventually(t, time.Minute, func() error {
		metrics, err := scrape(t, tn)
		if err == nil && !strings.Contains(metrics, "husk_pod_network_receive_bytes_total{") {
			err = errors.New("there is no sample yet")
		}
		return err
	})
	tn.DeletePod(t, pods[0].ID)
}

func scrape(t *testing.T, tn *stack.Tenant) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tn.Env["HUSK_API"]+"/v1/metrics", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+tn.Token(t, tn.Key))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(body))
	}
	return string(body), err
}
