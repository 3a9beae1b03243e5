// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/agents"
	"husk/server/request"
)

// maxStats is the largest response of an agent about a pod, in bytes.
const maxStats = 1 << 20

// GetPodStats gets statistics from the agent of the pod's node, which gets them from the guest.
func (s *Sessions) GetPodStats(ctx context.Context, r openapi.GetPodStatsRequestObject) (openapi.GetPodStatsResponseObject, error) {
	stats, err := statsOf[openapi.PodStats](ctx, s, r.PodID, func(c *openapi.Client) (*http.Response, error) { return c.GetPodStats(ctx, r.PodID) })
	return openapi.GetPodStats200JSONResponse(stats), err
}

// GetPodStatsHistory gets what the agent of the pod's node has recorded.
func (s *Sessions) GetPodStatsHistory(ctx context.Context, r openapi.GetPodStatsHistoryRequestObject) (openapi.GetPodStatsHistoryResponseObject, error) {
	history, err := statsOf[openapi.PodStatsHistory](ctx, s, r.PodID, func(c *openapi.Client) (*http.Response, error) {
		return c.GetPodStatsHistory(ctx, r.PodID, &r.Params)
	})
	return openapi.GetPodStatsHistory200JSONResponse(history), err
}

// statsOf gets a document about a pod from the agent of its node.
func statsOf[T any](ctx context.Context, s *Sessions, id uuid.UUID, get func(*openapi.Client) (*http.Response, error)) (document T, _ error) {
	tenant := s.store.Tenant(request.Of(ctx).Caller)
	pod, err := tenant.Pod(ctx, id)
	if err != nil {
		return document, err
	}
	node, placed, err := tenant.NodeOfPod(ctx, id)
	if err != nil {
		return document, err
	}
	if !placed {
		return document, husk.Errorf(husk.CodeConflict, "", "pod %q %s, so it has no statistics%s", pod.Name, nowhere(pod), because(pod))
	}
	resp, err := s.agents.Call(ctx, node, get)
	if err != nil {
		return document, errors.Join(agents.Unavailable(node), err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStats))
	if err != nil {
		return document, errors.Join(agents.Unavailable(node), err)
	}
	if resp.StatusCode != http.StatusOK {
		return document, s.agents.Refused(node, resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return document, errors.Join(agents.Unavailable(node), err)
	}
	return document, nil
}
