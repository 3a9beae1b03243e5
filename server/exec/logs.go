// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// GetPodLogs forwards the request to the agent of the pod's node, which serves the same operation for its own pods.
func (s *Sessions) GetPodLogs(ctx context.Context, r openapi.GetPodLogsRequestObject) (openapi.GetPodLogsResponseObject, error) {
	tenant := s.store.Tenant(request.Of(ctx).Caller)
	pod, err := tenant.Pod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	container, err := chooseContainer(pod, r.Params.Container)
	if err != nil {
		return nil, err
	}
	node, placed, err := tenant.NodeOfPod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	if !placed {
		return nil, husk.Errorf(husk.CodeLogsUnavailable, "", "pod %q is not placed yet, so it has no log%s", pod.Name, because(pod))
	}
	r.Params.Container = &container
	resp, err := s.agents.CallOK(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.GetPodLogs(ctx, r.PodID, &r.Params) }) //nolint:bodyclose // proxied closes it
	if err != nil {
		return nil, errors.Join(husk.Errorf(husk.CodeLogsUnavailable, "", "the log cannot be read from node %s at the moment; retry", node.Name), err)
	}
	wait, done := s.held.Pace(request.Of(ctx).Caller.TenantID)
	return proxied{resp, func() error { _, err := tenant.Pod(ctx, r.PodID); return err }, func(n int) error { return wait(ctx, n) }, done}, nil
}

func chooseContainer(pod husk.Pod, asked *string) (string, error) {
	if asked == nil {
		if len(pod.Spec.Containers) > 1 {
			return "", husk.Errorf(husk.CodeInvalid, "container", "the pod has %d containers; name one", len(pod.Spec.Containers))
		}
		return pod.Spec.Containers[0].Name, nil
	}
	for _, c := range pod.Spec.AllContainers() {
		if c.Name == *asked {
			return *asked, nil
		}
	}
	return "", husk.Errorf(husk.CodeInvalid, "container", "the pod has no container named %q", *asked)
}

// proxied forwards an agent's stream as it arrives.
type proxied struct {
	resp  *http.Response
	again func() error // returns an error if the reader is no longer authorized
	wait  func(bytes int) error
	done  func()
}

// recheckEvery is how often the server re-checks that the reader of a followed log is still authorized.
const recheckEvery = 15 * time.Second

// VisitGetPodLogsResponse copies until the agent or the reader closes the stream.
func (p proxied) VisitGetPodLogsResponse(w http.ResponseWriter) error {
	defer p.done()
	defer p.resp.Body.Close()
	h := w.Header()
	h.Set("Content-Type", p.resp.Header.Get("Content-Type"))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	ended, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		for {
			select {
			case <-ended:
				return
			case <-time.After(recheckEvery):
			}
			if code := husk.CodeOf(p.again()); code == husk.CodeUnauthenticated || code == husk.CodeNotFound {
				_ = p.resp.Body.Close() //nolint:errcheck // the copying loop notices that it is closed
				return
			}
		}
	}()
	defer func() { close(ended); <-watching }()
	buf := make([]byte, 32<<10)
	for {
		n, err := p.resp.Body.Read(buf)
		if n > 0 {
			if p.wait(n) != nil {
				return nil // the reader has gone
			}
			if e := errors.Join(c.SetWriteDeadline(time.Now().Add(request.WriteTimeout))); e != nil {
				return nil //nolint:nilerr // the reader has gone
			}
			if _, e := w.Write(buf[:n]); e != nil || c.Flush() != nil {
				return nil //nolint:nilerr // the reader has gone
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			// The header is sent already. Breaking the connection is the only way to tell the reader that the log is incomplete.
			panic(http.ErrAbortHandler)
		}
	}
}
