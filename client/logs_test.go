// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// evictedPod is a transport to an API with one pod. The pod runs for two seconds, is evicted, stops for a second, and then waits for
// capacity. Then it runs on the next node until its container has ended. It writes one line on each node.
type evictedPod struct {
	began time.Time
	waits time.Duration // for capacity
}

func (e evictedPod) phase() openapi.PodPhase {
	switch after := time.Since(e.began); {
	case after < 2*time.Second:
		return openapi.PodPhaseRunning
	case after < 3*time.Second:
		return openapi.PodPhaseStopping
	case after < 3*time.Second+e.waits:
		return openapi.PodPhasePending
	case after < 5*time.Second+e.waits:
		return openapi.PodPhaseRunning
	default:
		return openapi.PodPhaseSucceeded
	}
}

func (e evictedPod) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	first := time.Since(e.began) < 3*time.Second
	switch phase := e.phase(); {
	case !strings.HasSuffix(r.URL.Path, "/logs"):
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"spec":{},"status":{"phase":%q}}`, phase)))
	case phase == openapi.PodPhasePending:
		resp.StatusCode = http.StatusServiceUnavailable
		resp.Header.Set("Content-Type", "application/problem+json")
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"status":503,"code":%q,"detail":"the pod is not placed"}`, husk.CodeLogsUnavailable)))
	default:
		read, write := io.Pipe()
		go func() {
			cursor := "second.1"
			if first {
				cursor = "first.1"
			}
			if r.URL.Query().Get("after") != cursor {
				fmt.Fprintf(write, `{"line":%[1]q,"cursor":%[1]q}`+"\n", cursor)
			}
			for first == (time.Since(e.began) < 2*time.Second) && e.phase() == openapi.PodPhaseRunning && r.Context().Err() == nil {
				time.Sleep(100 * time.Millisecond)
			}
			write.CloseWithError(r.Context().Err())
		}()
		resp.Body = read
	}
	return resp, nil
}

func TestFollowedLogContinuesAfterAnEviction(t *testing.T) {
	t.Parallel()
	for _, waits := range []time.Duration{0, time.Hour} {
		t.Run(waits.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := New("https://husk.example.com", WithTransport(evictedPod{time.Now(), waits}))
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				for line, err := range c.Pods.Logs(t.Context(), uuid.New(), LogOptions{Follow: true}) {
					if err != nil {
						t.Errorf("after %q: %v", lines, err)
						break
					}
					lines = append(lines, line.Line)
				}
				if diff := cmp.Diff([]string{"first.1", "second.1"}, lines); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
