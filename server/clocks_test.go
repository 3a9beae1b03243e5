// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/openapi"
)

// lockedBuffer is a log that several goroutines write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) lines(with string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, with) {
			found = append(found, line)
		}
	}
	return found
}

func TestTheLogNamesANodeWithAWrongClock(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := open(t).logging(slog.NewTextHandler(&log, nil))
	c := s.tenant()
	for name, by := range map[string]time.Duration{"an hour slow": -time.Hour, "an hour fast": time.Hour, "right": 0} {
		node, agent := s.node()
		pod := s.createPod(c)
		s.place(node, c, pod.ID)
		for range 2 {
			run := map[string]any{"podId": pod.ID, "startedAt": time.Now().Add(by).UTC(), "receivedBytes": 1, "sentBytes": 1}
			if a := agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{}, "runs": []any{run}}); a.status != 204 {
				t.Fatal(a.body)
			}
		}
		lines := log.lines("node=" + node.String() + " pod=" + pod.ID.String())
		want := 0
		if by != 0 {
			want = 1
		}
		if len(lines) != want {
			t.Errorf("for a clock that is %s the log has %q", name, lines)
		}
	}
	if used := as[openapi.UsageList](t, s.call("GET", "/v1/usage?groupBy=object", c.token, nil), 200).Items; len(used) != 1 {
		t.Errorf("the recorded usage is %+v, want only the machine whose times are valid", used)
	}
}
