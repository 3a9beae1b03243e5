// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/pace"
)

// Create creates a pod. The function change modifies a small default spec.
func (tn *Tenant) Create(t testing.TB, name string, change func(*openapi.PodSpec)) openapi.Pod {
	t.Helper()
	spec := openapi.PodSpec{
		Resources:                     openapi.Resources{CPUMillis: 1000, MemoryMiB: 160},
		Containers:                    []openapi.Container{{Name: "main"}},
		TerminationGracePeriodSeconds: new(2),
	}
	change(&spec)
	created, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: name, Spec: spec})
	if err != nil {
		t.Fatalf("create pod %s: %v", name, err)
	}
	return created
}

// Shell returns a container that runs a script.
func Shell(image, script string) openapi.Container {
	return openapi.Container{Name: "main", Image: image, Command: &[]string{"sh", "-c", script}}
}

// Idle returns a change for Create: the pod has one container, which does nothing.
func Idle(image string) func(*openapi.PodSpec) {
	return func(s *openapi.PodSpec) { s.Containers = []openapi.Container{Shell(image, "exec sleep 1000000")} }
}

// Get reads a pod.
func (tn *Tenant) Get(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	return tn.API.Pods.Get(ctx, id)
}

// Wait waits until a pod is in a phase. If the pod is Failed instead, the test fails immediately.
func (tn *Tenant) Wait(t testing.TB, id uuid.UUID, phase openapi.PodPhase) openapi.Pod {
	t.Helper()
	var pod openapi.Pod
	ctx, cancel := context.WithTimeout(t.Context(), pace.Limit(BootTime))
	defer cancel()
	err := Until(ctx, func() (err error) {
		if pod, err = tn.Get(ctx, id); err != nil {
			return err
		}
		if pod.Status.Phase == openapi.PodPhaseFailed && phase != openapi.PodPhaseFailed {
			cancel()
		}
		if pod.Status.Phase != phase || pod.Status.UnknownSince != nil {
			return fmt.Errorf("pod is %s, not %s: %s %s", pod.Status.Phase, phase, Value(pod.Status.Reason), Value(pod.Status.Message))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("pod %s: %v\nlog:\n%s\nqemu:\n%s\nagent:\n%v", pod.Name, err, tn.Logs(t, id, nil), tn.QEMULog(id), tn.agentLogs())
	}
	return pod
}

// Running waits until pods run, and returns them in the same order. To boot pods at the same time, create all of them before you call Running.
func (tn *Tenant) Running(t testing.TB, pods ...openapi.Pod) []openapi.Pod {
	t.Helper()
	running := make([]openapi.Pod, len(pods))
	for i, p := range pods {
		running[i] = tn.Wait(t, p.ID, openapi.PodPhaseRunning)
	}
	return running
}

// DeletePod deletes a pod and waits until it is deleted.
func (tn *Tenant) DeletePod(t testing.TB, id uuid.UUID) {
	t.Helper()
	if err := tn.API.Pods.Delete(t.Context(), id); err != nil {
		t.Fatalf("delete pod %s: %v", id, err)
	}
	Eventually(t, time.Minute, func() error { return tn.Gone(t.Context(), id) })
}

// Gone returns nil if a deleted pod no longer exists.
func (tn *Tenant) Gone(ctx context.Context, id uuid.UUID) error {
	pod, err := tn.Get(ctx, id)
	if client.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("pod %s still exists: %+v", pod.Name, pod.Status)
	}
	return err
}

// Logs returns a pod's log.
func (tn *Tenant) Logs(t testing.TB, id uuid.UUID, params *openapi.GetPodLogsParams) string {
	resp, err := tn.API.API().GetPodLogs(t.Context(), id, params)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// WaitForLog waits until a container's log contains a text, and returns the log. The argument
// container may be empty if the pod has only one.
func (tn *Tenant) WaitForLog(t testing.TB, id uuid.UUID, container, text string) string {
	t.Helper()
	var params *openapi.GetPodLogsParams
	if container != "" {
		params = &openapi.GetPodLogsParams{Container: &container}
	}
	var log string
	Eventually(t, time.Minute, func() error {
		if log = tn.Logs(t, id, params); !strings.Contains(log, text) {
			return fmt.Errorf("the log does not contain %q:\n%s", text, log)
		}
		return nil
	})
	return log
}

// Page fetches a web page from a port of a pod.
func (tn *Tenant) Page(ctx context.Context, pod openapi.Pod, port int, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pace.Limit(5*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*pod.Status.Address+path, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: tn.Dialer(pod, port)}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// Value returns a string, or an empty one if it is missing.
func Value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
