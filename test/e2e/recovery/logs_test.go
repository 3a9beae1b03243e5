// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// A followed log has every line exactly once, even if agent or server are killed in the meantime.
// It ends when its container ends.
func TestAFollowedLogLosesNothing(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "count", func(s *openapi.PodSpec) {
		never := openapi.OnFailure
		s.RestartPolicy = &never
		main := stack.Shell(busybox, "n=0; until [ -e /tmp/end ]; do n=$((n+1)); echo line $n; sleep 0.1; done")
		other := stack.Shell(busybox, "echo from the other; exec sleep 1000000")
		other.Name = "other"
		s.Containers = []openapi.Container{main, other}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	follower := stack.Start(t, tn.Husk(t.Context(), "logs", "-f", "-c", "main", "count"))
	both := stack.Start(t, tn.Husk(t.Context(), "logs", "-f", "--all-containers", "count"))
	raw, err := tn.API.API().GetPodLogs(t.Context(), pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Follow: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Body.Close()
	follower.Expect(t, "line 5\n")
	for _, part := range []string{"agent", "server", "agent"} {
		tn.Kill(t, part)
		before := strings.Count(follower.Output(), "\n")
		stack.Eventually(t, time.Minute, func() error {
			if strings.Count(follower.Output(), "\n") < before+3 {
				return stack.ErrNotYet
			}
			return nil
		})
	}
	if got := tn.Run(t, nil, "exec", "-c", "main", "count", "touch", "/tmp/end"); got.Code != 0 {
		t.Fatalf("end the container: %+v", got)
	}
	if code := follower.ExitCode(t); code != 0 { // its container has ended; the pod continues
		t.Errorf("husk logs -f exits with %d", code)
	}
	lines := strings.Count(follower.Output(), "line ")
	var want strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&want, "line %d\n", n)
	}
	if got := strings.ReplaceAll(follower.Output(), "husk: ", "\nhusk: "); got != want.String() {
		t.Errorf("husk logs -f printed\n%s", got)
	}
	both.Expect(t, fmt.Sprintf("[main] line %d\n", lines))
	if got := both.Output(); strings.Count(got, "[other] from the other\n") != 1 || strings.Count(got, fmt.Sprintf("[main] line %d\n", lines/2)) != 1 {
		t.Errorf("both containers: %s", got)
	}
	if now, err := tn.Get(t.Context(), pod.ID); err != nil || now.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("the pod is %s (%v)", now.Status.Phase, err)
	}
	// The stream of the API ends too.
	fresh, err := tn.API.API().GetPodLogs(t.Context(), pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Follow: new(true)}) //nolint:bodyclose // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Body.Close()
	ended := make(chan string, 1)
	go func() { b, _ := io.ReadAll(fresh.Body); ended <- string(b) }()
	select {
	case got := <-ended:
		if got != want.String() {
			t.Errorf("the stream is\n%s", got)
		}
	case <-time.After(pace.Limit(10 * time.Second)):
		t.Error("a followed log stays open although its container ended and is not restarted")
	}
	all := strings.Split(strings.TrimSpace(tn.Run(t, nil, "logs", "-t", "-c", "main", "count").Out), "\n")
	if len(all) != lines {
		t.Fatalf("the log has %d lines, but husk logs -f printed %d", len(all), lines)
	}
	late := all[lines/2:]
	stamp, _, _ := strings.Cut(late[0], " ")
	if got := tn.Run(t, nil, "logs", "-c", "main", "--since", stamp, "count").Out; got != strings.Join(slices.Collect(untimed(late)), "\n")+"\n" {
		t.Errorf("since %s: %q", stamp, got)
	}
}

func untimed(lines []string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, l := range lines {
			_, text, _ := strings.Cut(l, " ")
			if !yield(text) {
				return
			}
		}
	}
}
