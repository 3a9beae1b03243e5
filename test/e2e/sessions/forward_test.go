// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

func forwardPorts(t *testing.T, tn *stack.Tenant) {
	k := stack.Start(t, tn.Husk(t.Context(), "port-forward", "talk", "0:80", "0:81"))
	k.Expect(t, "to port 81")
	ports := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(k.Output(), 2)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			resp, err := http.Get("http://" + ports[0] + "/")
			if err != nil {
				t.Errorf("through the forwarded port: %v", err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 {
				t.Errorf("through the forwarded port: %s %q %v", resp.Status, b, err)
			}
		})
	}
	all.Wait()
	conn, err := net.Dial("tcp", ports[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("a closed port sent %d bytes", n)
	}
	k.Expect(t, "nothing listens on port 81")
	_ = k.Process.Signal(os.Interrupt)
	if code := k.ExitCode(t); code != 130 {
		t.Errorf("husk port-forward exits with %d: %s", code, k.Output())
	}
}

// forwardToService reaches a pod through a port of a service.
func forwardToService(t *testing.T, tn *stack.Tenant) {
	pod, err := tn.API.Pods.Find(t.Context(), "talk")
	if err != nil {
		t.Fatal(err)
	}
	if got := tn.Run(t, nil, "service", "create", "talk", "--selector", "talks=yes", "--port", "8000:80"); got.Code != 0 {
		t.Fatal(got)
	}
	if got := tn.Run(t, nil, "port-forward", "service/talk", "0:80"); got.Code != 2 || !strings.Contains(got.Errs, "service/talk has no TCP port 80; it has 8000") {
		t.Errorf("a port that the service does not have: %+v", got)
	}
	k := stack.Start(t, tn.Husk(t.Context(), "port-forward", "service/talk", "0:8000"))
	k.Expect(t, "to port 8000 of service/talk")
	at := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(k.Output())
	if resp, err := http.Get("http://" + at + "/"); err == nil {
		resp.Body.Close()
		t.Errorf("without pods, the service answers %s", resp.Status)
	}
	k.Expect(t, "service/talk has no ready pods")
	if _, err := tn.API.Pods.Update(t.Context(), pod.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"talks": new("yes")}}); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 10*time.Second, func() error {
		resp, err := http.Get("http://" + at + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	})
	_ = k.Process.Signal(os.Interrupt)
	if code := k.ExitCode(t); code != 130 {
		t.Errorf("husk port-forward exits with %d: %s", code, k.Output())
	}
}
