package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
)

// bootTime is how long a pod may take to run on a busy machine that emulates.
const bootTime = 90 * time.Second

// tenant is a tenant of one test, with everything it owns removed at the end.
type tenant struct {
	*stack
	id  uuid.UUID
	api *openapi.ClientWithResponses
	key *openapi.APIKeyWithSecret // the owner's
}

var generousQuota = openapi.QuotaChange{
	Pods: new(20), CPUMillis: new(16_000), MemoryMiB: new(8192), Volumes: new(10), VolumeGiB: new(100), Images: new(10), RequestsPerSecond: new(1000),
}

func newTenant(t testing.TB) *tenant {
	t.Helper()
	s := theStack(t)
	created, err := s.operator.CreateTenantWithResponse(t.Context(), nil, openapi.TenantCreate{Name: "t-" + uuid.NewString()[:8], Quota: &generousQuota})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("create a tenant: %v: %s", err, created.Body)
	}
	id := created.JSON201.ID
	key, err := s.operator.CreateAPIKeyWithResponse(t.Context(), id, nil, openapi.TenantKeyCreate{Name: "test"})
	if err != nil || key.JSON201 == nil {
		t.Fatalf("create an API key: %v", err)
	}
	tn := &tenant{s, id, s.client(key.JSON201.ClientID.String(), key.JSON201.ClientSecret), key.JSON201}
	t.Cleanup(func() { tn.remove(t) })
	return tn
}

// remove deletes all that the tenant owns, and the tenant; then nothing of it may be left anywhere.
func (tn *tenant) remove(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var owned []string
	err := until(ctx, func() error {
		pods, err := tn.api.ListPodsWithResponse(ctx, nil)
		if err != nil || pods.JSON200 == nil {
			return fmt.Errorf("list pods: %w", err)
		}
		for _, p := range pods.JSON200.Items {
			owned = append(owned, p.ID.String())
			if p.DeletionRequestedAt == nil {
				_, err = tn.api.DeletePodWithResponse(ctx, p.ID, nil)
			}
		}
		if n := len(pods.JSON200.Items); n > 0 {
			return errors.Join(err, fmt.Errorf("%d pods are left: %s", n, pods.Body))
		}
		volumes, err1 := tn.api.ListVolumesWithResponse(ctx, nil)
		images, err2 := tn.api.ListImagesWithResponse(ctx, nil)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		for _, v := range volumes.JSON200.Items {
			_, err = tn.api.DeleteVolumeWithResponse(ctx, v.ID, nil)
		}
		for _, i := range images.JSON200.Items {
			_, err = tn.api.DeleteImageWithResponse(ctx, i.ID, nil)
		}
		if n := len(volumes.JSON200.Items) + len(images.JSON200.Items); n > 0 {
			return errors.Join(err, fmt.Errorf("%d volumes and images are left: %s %s", n, volumes.Body, images.Body))
		}
		resp, err := tn.operator.DeleteTenantWithResponse(ctx, tn.id, nil)
		if err == nil && resp.StatusCode() != http.StatusNoContent {
			err = errors.New(resp.Status())
		}
		return err
	})
	if err != nil {
		t.Errorf("remove the tenant: %v", err)
		return
	}
	for _, pod := range owned {
		if list := tn.virsh("list", "--all", "--uuid"); strings.Contains(list, pod) {
			t.Errorf("the domain of pod %s is left", pod)
		}
	}
}

func (tn *tenant) importImage(t testing.TB, name string) string {
	t.Helper()
	ref := tn.refs[name]
	created, err := tn.api.ImportImageWithResponse(t.Context(), nil, openapi.ImageImport{Reference: ref})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("import %s: %v: %s", ref, err, created.Body)
	}
	eventually(t, time.Minute, func() error {
		got, err := tn.api.GetImageWithResponse(t.Context(), created.JSON201.ID)
		if err != nil {
			return err
		}
		if got.JSON200 == nil || got.JSON200.State != openapi.ImageStateReady {
			return fmt.Errorf("image %s: %s", ref, got.Body)
		}
		return nil
	})
	return ref
}

func (tn *tenant) volume(t testing.TB, name string) openapi.PodVolume {
	t.Helper()
	v, err := tn.api.CreateVolumeWithResponse(t.Context(), nil, openapi.VolumeCreate{Name: name, SizeGiB: 1})
	if err != nil || v.JSON201 == nil {
		t.Fatalf("create volume %s: %v: %s", name, err, v.Body)
	}
	return openapi.PodVolume{Name: name, VolumeID: v.JSON201.ID}
}

// order makes a pod; change adapts a small default.
func (tn *tenant) order(t testing.TB, name string, change func(*openapi.PodSpec)) openapi.Pod {
	t.Helper()
	spec := openapi.PodSpec{
		Resources:                     openapi.Resources{CPUMillis: 1000, MemoryMiB: 160},
		Containers:                    []openapi.Container{{Name: "main"}},
		TerminationGracePeriodSeconds: new(2),
	}
	change(&spec)
	created, err := tn.api.CreatePodWithResponse(t.Context(), nil, openapi.PodCreate{Name: name, Spec: spec})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("order pod %s: %v: %s", name, err, created.Body)
	}
	return *created.JSON201
}

func (tn *tenant) get(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	resp, err := tn.api.GetPodWithResponse(ctx, id)
	if err != nil {
		return openapi.Pod{}, err
	}
	if resp.JSON200 == nil {
		return openapi.Pod{}, fmt.Errorf("get pod %s: %s: %s", id, resp.Status(), resp.Body)
	}
	return *resp.JSON200, nil
}

// wait waits for a phase. A pod that has failed instead is not waited for.
func (tn *tenant) wait(t testing.TB, id uuid.UUID, phase openapi.PodPhase) openapi.Pod {
	t.Helper()
	var pod openapi.Pod
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	err := until(ctx, func() (err error) {
		if pod, err = tn.get(ctx, id); err != nil {
			return err
		}
		if pod.Status.Phase == openapi.PodPhaseFailed && phase != openapi.PodPhaseFailed {
			cancel()
		}
		if pod.Status.Phase != phase {
			return fmt.Errorf("pod is %s, not %s: %s %s", pod.Status.Phase, phase, value(pod.Status.Reason), value(pod.Status.Message))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("pod %s: %v\nlog:\n%s\nagent:\n%v", pod.Name, err, tn.logs(t, id, nil), tn.failure("s/log/agent.log"))
	}
	return pod
}

func (tn *tenant) deletePod(t testing.TB, id uuid.UUID) {
	t.Helper()
	if _, err := tn.api.DeletePodWithResponse(t.Context(), id, nil); err != nil {
		t.Fatalf("delete pod %s: %v", id, err)
	}
	eventually(t, time.Minute, func() error {
		resp, err := tn.api.GetPodWithResponse(t.Context(), id)
		if err == nil && resp.StatusCode() != http.StatusNotFound {
			err = fmt.Errorf("pod is still there: %s", resp.Body)
		}
		return err
	})
}

func (tn *tenant) logs(t testing.TB, id uuid.UUID, params *openapi.GetPodLogsParams) string {
	resp, err := tn.api.GetPodLogs(t.Context(), id, params)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// says waits until a pod's log contains a text.
func (tn *tenant) says(t testing.TB, id uuid.UUID, text string) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if log := tn.logs(t, id, nil); !strings.Contains(log, text) {
			return fmt.Errorf("the log does not say %q:\n%s", text, log)
		}
		return nil
	})
}

// page fetches a pod's page over the network.
func page(ctx context.Context, pod openapi.Pod, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*pod.Status.Address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

func shell(image, script string) openapi.Container {
	return openapi.Container{Name: "main", Image: image, Command: &[]string{"sh", "-c", script}}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
