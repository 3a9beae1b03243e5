// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// Containers cannot reach the console of their machine, so the test itself writes to the file that virtlogd writes.
func TestAMachineThatFloodsItsConsoleIsSlowedDown(t *testing.T) {
	tn := stack.NewTenant(t)
	pod := tn.Create(t, "noisy", func(s *openapi.PodSpec) {
		s.Resources.CPUMillis = 500
		s.Containers = []openapi.Container{stack.Shell(tn.ImportImage(t, "busybox"), "exec sleep 1000000")}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	quota := func(want string) func() error {
		return func() error {
			for line := range strings.Lines(tn.Virsh("schedinfo", "husk-"+pod.ID.String())) {
				if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "global_quota" {
					if got := strings.TrimSpace(value); got != want {
						return fmt.Errorf("the quota is %s, want %s", got, want)
					}
					return nil
				}
			}
			return errors.New("libvirt does not report the quota")
		}
	}
	stack.Eventually(t, 10*time.Second, quota("50000")) // microseconds per 100 ms
	console, err := os.OpenFile(filepath.Join(tn.Dir, "s/agent/consoles", pod.ID.String()+".console"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	if _, err := console.Write(make([]byte, 1300<<10)); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 5*time.Second, quota("2000"))
	stack.Eventually(t, time.Minute, quota("50000"))
	tn.DeletePod(t, pod.ID)
}
