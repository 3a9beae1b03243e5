// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync"
	"testing"

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
