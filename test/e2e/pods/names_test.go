// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A pod has the names of its spec, and the right time soon after its machine was paused.
func TestAPodHasItsNamesAndTheTime(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "named", func(s *openapi.PodSpec) {
		s.Hostname = new("db")
		s.HostAliases = &[]openapi.HostAlias{{IP: "192.0.2.10", Hostnames: []string{"one", "two"}}}
		s.DNSPolicy = new(openapi.PodSpecDNSPolicyNone)
		s.DNSConfig = &openapi.DNSConfig{Nameservers: &[]string{"192.0.2.53"}, Options: &[]openapi.DNSOption{{Name: "ndots", Value: new("2")}}}
		s.Sysctls = &[]openapi.Sysctl{{Name: "net/core/somaxconn", Value: "77"}}
		s.Containers = []openapi.Container{stack.Shell(busybox, `
echo "host $(hostname), alias $(grep -c '192.0.2.10	one two' /etc/hosts), $(tr '\n' ' ' < /etc/resolv.conf), $(cat /proc/sys/net/core/somaxconn)"; exec sleep 1000000`)}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, pod.Spec.Containers[0].Name, "host db, alias 1, nameserver 192.0.2.53 options ndots:2 , 77")

	clock := func() error { // off by less than a second; the commands take time too
		before := time.Now()
		got := tn.Run(t, nil, "exec", pod.Name, "date", "+%s")
		seconds, err := strconv.ParseInt(strings.TrimSpace(got.Out), 10, 64)
		if err != nil {
			return err
		}
		if now := time.Unix(seconds, 0); now.Before(before.Add(-2*time.Second)) || now.After(time.Now().Add(time.Second)) {
			return fmt.Errorf("it is %v in the pod, and %v on its node", now, before)
		}
		return nil
	}
	if err := clock(); err != nil {
		t.Fatal(err)
	}
	domain := pod.ID.String()
	tn.Virsh("suspend", domain)
	time.Sleep(6 * time.Second) // the time by which the clock is behind
	tn.Virsh("resume", domain)
	resumed := time.Now()
	stack.Eventually(t, 5*time.Second, clock)
	t.Logf("the clock was right %v after the pause", time.Since(resumed))
}
