// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"husk"
	"husk/openapi"
	"husk/server/agents"
	"husk/server/request"
)

// maxStats is the largest response of an agent about a pod, in bytes.
const maxStats = 1 << 20

// GetPodStats gets statistics from the agent of the pod's node, which gets them from the guest.
func (s *Sessions) GetPodStats(ctx context.Context, r openapi.GetPodStatsRequestObject) (openapi.GetPodStatsResponseObject, error) {
	tenant := s.store.Tenant(request.Of(ctx).Caller)
	pod, err := tenant.Pod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	node, placed, err := tenant.NodeOfPod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	if !placed {
		return nil, husk.Errorf(husk.CodeConflict, "", "pod %q is not placed yet, so it has no statistics%s", pod.Name, because(pod))
	}
	resp, err := s.agents.Call(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.GetPodStats(ctx, r.PodID) })
	if err != nil {
		return nil, errors.Join(agents.Unavailable(node), err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStats))
	if err != nil {
		return nil, errors.Join(agents.Unavailable(node), err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, s.agents.Refused(node, resp.StatusCode, raw)
	}
	var stats openapi.PodStats
	if err := json.Unmarshal(raw, &stats); err != nil {
		return nil, errors.Join(agents.Unavailable(node), err)
	}
	return openapi.GetPodStats200JSONResponse(stats), nil
}
