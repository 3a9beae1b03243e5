// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
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
		return nil, husk.Errorf(husk.CodeLogsUnavailable, "", "pod %q %s, so it has no log%s", pod.Name, nowhere(pod), because(pod))
	}
	r.Params.Container = &container
	beat := openapi.Value(r.Params.Heartbeat) && openapi.Value(r.Params.Follow) && strings.Contains(openapi.Value(r.Params.Accept), "ndjson")
	r.Params.Heartbeat = nil                                                                                                                  // only between this server and the reader
	resp, err := s.agents.CallOK(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.GetPodLogs(ctx, r.PodID, &r.Params) }) //nolint:bodyclose // proxied closes it
	if err != nil {
		return nil, errors.Join(husk.Errorf(husk.CodeLogsUnavailable, "", "the log cannot be read from node %s at the moment; retry", node.Name), err)
	}
	wait, done := s.held.Pace(request.Of(ctx).Caller.TenantID)
	return proxied{resp, func() error { _, err := tenant.Pod(ctx, r.PodID); return err }, func(n int) error { return wait(ctx, n) }, done, beat}, nil
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
	beat  bool // send empty lines while there is no output
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
	out := &lines{w: w, c: c, whole: true, last: time.Now()}
	defer func() { close(ended); <-watching }()
	if p.beat {
		beating := make(chan struct{})
		go func() {
			defer close(beating)
			out.beatUntil(ended)
		}()
		defer func() { <-beating }()
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := p.resp.Body.Read(buf)
		if n > 0 && (p.wait(n) != nil || out.write(buf[:n]) != nil) {
			return nil // the reader has gone
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

// beatEvery is how often a quiet log sends an empty line to a reader who wants it.
const beatEvery = 10 * time.Second

// lines writes a log, and empty lines between its lines.
type lines struct {
	mu    sync.Mutex
	w     io.Writer
	c     *http.ResponseController
	whole bool // what was written ends with a line's end
	last  time.Time
}

func (l *lines) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(b)
}

func (l *lines) put(b []byte) error {
	if err := l.c.SetWriteDeadline(time.Now().Add(request.WriteTimeout)); err != nil {
		return err
	}
	l.whole, l.last = b[len(b)-1] == '\n', time.Now()
	if _, err := l.w.Write(b); err != nil {
		return err
	}
	return l.c.Flush()
}

// beatUntil writes empty lines while nothing else was written for a while.
func (l *lines) beatUntil(ended <-chan struct{}) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if l.beat() != nil {
			return // the loop that copies notices it too
		}
	}
}

func (l *lines) beat() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.whole || time.Since(l.last) < beatEvery/2 {
		return nil
	}
	return l.put([]byte("\n"))
}
