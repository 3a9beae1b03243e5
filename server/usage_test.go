// SPDX-License-Identifier: Apache-2.0

package server

import (
	"maps"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/openapi"
)

// Only the pods' tenant sees and pays for the usage that an agent reports.
func TestATenantSeesOnlyItsOwnUsage(t *testing.T) {
	t.Parallel()
	s := open(t)
	s = s.configured(func(c *Config) { c.Prices = husk.PriceList{Currency: "EUR", CPUCoreHour: 0.02, MemoryGiBHour: 0.004} })
	c, stranger := s.tenant(), s.tenant()
	node, agent := s.node()
	_, other := s.node()
	body := c.body("web")
	body["labels"] = map[string]any{"app": "=1+1"}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, body), 201)
	s.place(node, c, pod.ID)
	start := time.Now().Add(-30 * time.Second).UTC()
	stop := start.Add(20 * time.Second)
	record := func(from fixture, more map[string]any) response {
		run := map[string]any{"podId": pod.ID, "startedAt": start, "receivedBytes": 1 << 20, "sentBytes": 2 << 20}
		maps.Copy(run, more)
		return from.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{}, "runs": []any{run}})
	}
	for range 2 {
		for _, a := range []response{record(other, map[string]any{"startedAt": start.Add(-time.Second)}), record(agent, nil), record(agent, map[string]any{"stoppedAt": stop})} {
			if a.status != 204 {
				t.Fatal(a.body)
			}
		}
	}
	from := "from=" + start.Add(-time.Hour).Format(time.RFC3339)
	list := as[openapi.UsageList](t, s.call("GET", "/v1/usage?groupBy=object&"+from, c.token, nil), 200)
	if len(list.Items) != 1 || *list.Currency != "EUR" {
		t.Fatalf("the usage is %+v", list)
	}
	u := list.Items[0]
	if u.PodSeconds < 19.9 || u.PodSeconds > 20.1 || u.CPUCoreSeconds < 9.9 || u.CPUCoreSeconds > 10.1 || u.NetworkSentBytes != 2<<20 || *u.Name != "web" || u.Closed {
		t.Errorf("the usage of the pod is %+v", u)
	}
	if want := 10.0/3600*0.02 + 20.0/3600/8*0.004; *u.Cost < want*0.99 || *u.Cost > want*1.01 {
		t.Errorf("it costs %v, want %v", *u.Cost, want)
	}
	csv := s.call("GET", "/v1/usage?format=csv&groupBy=label&label=app&"+from, c.token, nil)
	if lines := strings.Split(strings.TrimSpace(csv.body), "\n"); csv.status != 200 || len(lines) != 2 || !strings.Contains(lines[1], ",'=1+1,") || !strings.HasPrefix(csv.header.Get("Content-Type"), "text/csv") {
		t.Errorf("as CSV it is %s", csv.body)
	}
	if theirs := as[openapi.UsageList](t, s.call("GET", "/v1/usage?"+from, stranger.token, nil), 200); len(theirs.Items) != 0 {
		t.Errorf("another tenant gets %+v", theirs)
	}
	all := as[openapi.UsageList](t, s.call("GET", "/v1/admin/usage?groupBy=tenant&"+from, s.operator(), nil), 200)
	if len(all.Items) != 1 || *all.Items[0].Key != c.id.String() {
		t.Errorf("the operator gets %+v", all)
	}
	for query, field := range map[string]string{
		"groupBy=label": "label", "label=app": "label", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z": "to", "from=2020-03-02T00:00:00Z": "from",
		"groupBy=tenant": "groupBy", "period=week": "period",
	} {
		wantProblem(t, s.call("GET", "/v1/usage?"+query, c.token, nil), 422, husk.CodeInvalid, field)
	}
}
