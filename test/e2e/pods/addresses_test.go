// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// This machine, which is outside of all tenants' networks, reaches a pod at a floating address, until a security group of the pod does not allow it. What
// the group drops is counted and shown.
func TestOthersReachAPodAtItsAddress(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "web", func(spec *openapi.PodSpec) {
		spec.Containers = []openapi.Container{stack.Shell(busybox, `mkdir /www; echo welcome > /www/index.html; exec httpd -f -p 8080 -h /www`)}
	})
	address, err := tn.API.Addresses.Create(t.Context(), openapi.AddressCreate{
		Name: "web", Target: &openapi.AddressTarget{PodID: &pod.ID, Ports: &openapi.AddressPorts{{Port: 80, TargetPort: new(8080)}}}, DeleteWithTarget: new(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func() error {
		web := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := web.Get("http://" + address.Status.Address + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		page, err := io.ReadAll(resp.Body)
		if err == nil && strings.TrimSpace(string(page)) != "welcome" {
			err = fmt.Errorf("the page is %q", page)
		}
		return err
	}
	stack.Eventually(t, 3*time.Minute, fetch)
	group, err := tn.API.SecurityGroups.Create(t.Context(), openapi.SecurityGroupCreate{Name: "closed"})
	if err != nil {
		t.Fatal(err)
	}
	now, err := tn.API.Pods.Update(t.Context(), pod.ID, openapi.PodUpdate{SecurityGroups: &openapi.SecurityGroupNames{"closed"}})
	if err != nil || now.Status.Outside == nil || (*now.Status.Outside)[0].Address != address.Status.Address {
		t.Fatalf("the pod is %+v: %v", now.Status, err)
	}
	stack.Eventually(t, 10*time.Second, func() error {
		if fetch() == nil {
			return errors.New("the page is still reached")
		}
		return nil
	})
	stack.Eventually(t, time.Minute, func() error { // agents report every 10 s
		_ = fetch()
		traffic, err := tn.API.SecurityGroups.Traffic(t.Context(), group.ID)
		if err == nil && (traffic.Dropped[0].Packets == 0 || len(traffic.Drops) == 0 || traffic.Drops[0].PodID != pod.ID || openapi.Value(traffic.Drops[0].DestinationPort) != 8080) {
			err = fmt.Errorf("the traffic is %+v", traffic)
		}
		return err
	})
	everybody := openapi.SecurityRules{{Direction: openapi.SecurityRuleDirectionIngress}}
	if _, err := tn.API.SecurityGroups.Update(t.Context(), group.ID, openapi.SecurityGroupUpdate{Rules: &everybody}, false); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 10*time.Second, fetch)
}
