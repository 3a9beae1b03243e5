// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"errors"
	"io"
	"net/http"

	"husk"
	"husk/openapi"
	"husk/server/agents"
	"husk/server/request"
	"husk/signals"
)

// KillPod has the agent of the pod's node send a signal to a container.
func (s *Sessions) KillPod(ctx context.Context, r openapi.KillPodRequestObject) (openapi.KillPodResponseObject, error) {
	tenant := s.store.Tenant(request.Of(ctx).Caller)
	pod, err := tenant.Pod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	container, err := chooseContainer(pod, r.Body.Container)
	if err != nil {
		return nil, err
	}
	name := openapi.Value(r.Body.Signal)
	if name == "" {
		name = "SIGKILL"
	}
	if _, err := signals.Parse(name); err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "signal", "%s", err)
	}
	pod, node, placed, err := tenant.OpenSession(ctx, r.PodID, "container "+container+": "+name)
	if err != nil {
		return nil, err
	}
	if !placed {
		return nil, husk.Errorf(husk.CodeConflict, "", "pod %q does not run, so it gets no signals%s", pod.Name, because(pod))
	}
	resp, err := s.agents.Call(ctx, node, func(c *openapi.Client) (*http.Response, error) {
		return c.KillPod(ctx, r.PodID, openapi.PodSignal{Container: &container, Signal: &name})
	})
	if err != nil {
		return nil, errors.Join(agents.Unavailable(node), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return openapi.KillPod204Response{}, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStats))
	if err != nil {
		return nil, errors.Join(agents.Unavailable(node), err)
	}
	return nil, s.agents.Refused(node, resp.StatusCode, raw)
}
