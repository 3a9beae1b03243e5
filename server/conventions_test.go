// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/auth"
	"husk/server/request"
	"husk/test/oidcprovider"
)

// postCase is a valid POST and a different body for the same operation.
type postCase struct {
	path        string
	body, other map[string]any
	operator    bool
	status      int // 0: 201
}

func (c postCase) wanted() int {
	if c.status == 0 {
		return 201
	}
	return c.status
}

// snapshot creates a volume and a snapshot of it, which are ready.
func (s fixture) snapshot(c tenancy, name string) (volume, snapshot string) {
	s.t.Helper()
	v := as[openapi.Volume](s.t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": name, "sizeGiB": 1}), 201)
	if err := s.db.Control().VolumeMade(s.t.Context(), husk.Volume{TenantID: c.id, ID: v.ID}, "abc", nil); err != nil {
		s.t.Fatal(err)
	}
	snap := as[openapi.Snapshot](s.t, s.call("POST", "/v1/snapshots", c.token, map[string]any{"name": name, "volumeId": v.ID}), 201)
	if err := s.db.Control().Copies().Made(s.t.Context(), c.id, snap.ID, "def"); err != nil {
		s.t.Fatal(err)
	}
	return v.ID.String(), snap.ID.String()
}

// postCases returns a postCase for each POST of the contract that takes an Idempotency-Key.
func (s fixture) postCases(c tenancy, provider string) map[string]postCase {
	account := as[openapi.ServiceAccount](s.t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": named("account"), "role": "viewer"}), 201)
	issuer := func(name string) map[string]any {
		return map[string]any{"name": name, "issuer": provider, "clientId": name}
	}
	name := func(n string) map[string]any { return map[string]any{"name": n} }
	volume, snapshot := s.snapshot(c, "first")
	other, _ := s.snapshot(c, "second")
	return map[string]postCase{
		"CreatePod":    {path: "/v1/pods", body: c.body("web"), other: c.body("web-2")},
		"CreateVolume": {path: "/v1/volumes", body: map[string]any{"name": "data", "sizeGiB": 1}, other: map[string]any{"name": "data", "sizeGiB": 2}},
		"CreateSnapshot": {
			path: "/v1/snapshots", body: map[string]any{"name": "s", "volumeId": other}, other: map[string]any{"name": "t", "volumeId": other},
		},
		"RestoreVolume": {
			path: "/v1/volumes/" + volume + "/restore", body: map[string]any{"snapshotId": snapshot}, other: map[string]any{"snapshotId": other}, status: 202,
		},
		"CreateConfig": {
			path: "/v1/configs", body: map[string]any{"kind": "Config", "name": "web", "values": map[string]any{"A": "1"}},
			other: map[string]any{"kind": "Config", "name": "web", "values": map[string]any{"A": "2"}},
		},
		"CreateNetwork": {path: "/v1/networks", body: name("back"), other: map[string]any{"name": "back", "isolated": true}},
		"CreateService": {
			path: "/v1/services", body: map[string]any{"name": "web", "selector": "app=web", "ports": []any{map[string]any{"port": 80}}},
			other: map[string]any{"name": "web", "selector": "app=web", "headless": true},
		},
		"CreateAddress": {
			path: "/v1/addresses", body: map[string]any{"name": "web"}, other: map[string]any{"name": "web", "labels": map[string]any{"a": "b"}},
		},
		"CreateSecurityGroup": {
			path: "/v1/security-groups", body: map[string]any{"name": "web"}, other: map[string]any{"name": "web", "selector": "app=web"},
		},
		"CreateIngress": {
			path: "/v1/ingresses", body: map[string]any{"name": "web", "rules": []any{map[string]any{"host": named("www") + ".example.com", "paths": []any{map[string]any{"service": "web", "port": 80}}}}},
			other: map[string]any{"name": "web", "rules": []any{map[string]any{"host": named("other") + ".example.com", "paths": []any{map[string]any{"service": "web", "port": 80}}}}},
		},
		"CreateServiceAccount":    {path: "/v1/service-accounts", body: map[string]any{"name": "ci", "role": "viewer"}, other: map[string]any{"name": "ci", "role": "owner"}},
		"CreateServiceAccountKey": {path: "/v1/service-accounts/" + account.ID.String() + "/api-keys", body: name("one"), other: name("two")},
		"CreateUser": {
			path: "/v1/users", body: map[string]any{"issuer": provider, "subject": "7", "role": "viewer"},
			other: map[string]any{"issuer": provider, "subject": "8", "role": "viewer"},
		},
		"CreateOIDCIssuer":      {path: "/v1/oidc-issuers", body: issuer("a"), other: issuer("b")},
		"AdminCreateOIDCIssuer": {path: "/v1/admin/oidc-issuers", body: issuer("a"), other: issuer("b"), operator: true},
		"CreateTenant":          {path: "/v1/admin/tenants", body: name("made-once"), other: name("made-once-more"), operator: true},
		"CreateAPIKey":          {path: "/v1/admin/tenants/" + c.id.String() + "/api-keys", body: name("one"), other: name("two"), operator: true},
		"CreateJoinToken":       {path: "/v1/admin/join-tokens", body: map[string]any{"expiresInSeconds": 60}, other: map[string]any{"expiresInSeconds": 61}, operator: true},
		"Defragment":            {path: "/v1/admin/defragmentation", body: map[string]any{"maxMoves": 1}, other: map[string]any{"maxMoves": 2}, operator: true},
		"RotateSigningKey":      {path: "/v1/admin/signing-keys", operator: true},
		// ImportImage needs a registry; loops_test.go covers it.
	}
}

// A repeated POST with a key takes effect only once, on whichever server, and adds one entry to the
// audit log.
func TestAPOSTThatIsRepeatedIsDoneOnce(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	second := s.another()
	c := s.tenant()
	postCases := s.postCases(c, p.Issuer)
	for path, item := range s.contract.spec.Paths.Map() {
		if item.Post == nil || item.Post.Extensions["x-repeatable"] != nil {
			continue
		}
		id := operationName(item.Post.OperationID)
		o, covered := postCases[id]
		if id == "ImportImage" {
			continue
		}
		if !covered {
			t.Errorf("POST %s (%s) takes a key and is not covered", path, id)
			continue
		}
		token := c.token
		if o.operator {
			token = s.operator()
		}
		var body, other any = o.body, o.other
		if o.body == nil {
			body = nil
		}
		key := []string{"Idempotency-Key", "key of " + id}
		first := s.call("POST", o.path, token, body, key...)
		again, elsewhere := s.call("POST", o.path, token, body, key...), second.call("POST", o.path, token, body, key...)
		status := o.wanted()
		if first.status != status || first.body != again.body || first.body != elsewhere.body || again.status != status || elsewhere.status != status {
			t.Errorf("%s gets the response %d %s, then %d %s, and by another server %d %s", id, first.status, first.body, again.status, again.body, elsewhere.status, elsewhere.body)
		}
		if first.header.Get("ETag") != again.header.Get("ETag") {
			t.Errorf("the repeated %s has another ETag", id)
		}
		if o.other != nil {
			wantProblem(t, second.call("POST", o.path, token, other, key...), 422, husk.CodeIdempotencyMismatch, "Idempotency-Key")
		}
	}
	entries := as[openapi.AuditList](t, s.call("GET", "/v1/admin/audit?limit=1000", s.operator(), nil), 200).Items
	for id, o := range postCases {
		n, want := 0, 1
		for _, e := range entries {
			if operationName(e.Operation) == id {
				n++
				if e.ActorName == "" || e.ObjectID == nil || e.Address == nil || (e.ActorKind == "operator") != o.operator {
					t.Errorf("the entry of %s is %+v", id, e)
				}
			}
		}
		switch id {
		case "CreateTenant":
			want = 2 // one of them for the tenant of this test
		case "CreateSnapshot", "CreateVolume":
			want = 3 // two of them for the volume in the path of RestoreVolume, and for another one
		case "CreateServiceAccount":
			want = 2 // one of them for the account in the path of CreateServiceAccountKey
		}
		if n != want {
			t.Errorf("%s wrote %d entries to the audit log, want %d", id, n, want)
		}
	}
}

func TestAChangeIsRefusedIfTheObjectHasAnotherETag(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	c := s.tenant()
	made := map[string]response{
		"/v1/pods":             s.call("POST", "/v1/pods", c.token, c.body("web")),
		"/v1/volumes":          s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}),
		"/v1/service-accounts": s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": "ci", "role": "viewer"}),
		"/v1/users":            s.call("POST", "/v1/users", c.token, map[string]any{"issuer": "https://login.example.com", "subject": "7", "role": "viewer"}),
		"/v1/oidc-issuers":     s.call("POST", "/v1/oidc-issuers", c.token, map[string]any{"name": "login", "issuer": p.Issuer, "clientId": "husk"}),
		"/v1/admin/tenants":    s.call("POST", "/v1/admin/tenants", s.operator(), map[string]any{"name": named("tenant")}),
	}
	for list, m := range made {
		id := as[struct{ ID string }](t, m, 201).ID
		path, token := list+"/"+id, c.token
		if strings.HasPrefix(list, "/v1/admin/") {
			token = s.operator()
		}
		got := s.call("GET", path, token, nil)
		if tag := got.header.Get("ETag"); tag == "" || tag != m.header.Get("ETag") {
			t.Errorf("%s has the ETag %q, but had %q when it was created", list, tag, m.header.Get("ETag"))
		}
		change := map[string]any{
			"/v1/service-accounts": map[string]any{"role": "developer"}, "/v1/users": map[string]any{"role": "developer"},
			"/v1/oidc-issuers":  map[string]any{"roleMappings": []any{map[string]any{"claim": "a", "value": "b", "role": "viewer"}}},
			"/v1/admin/tenants": map[string]any{"quota": map[string]any{"pods": 7}},
		}[list]
		tag := got.header.Get("ETag")
		if change != nil {
			wantProblem(t, s.call("PATCH", path, token, change, "If-Match", `"never"`), http.StatusPreconditionFailed, husk.CodePreconditionFailed, "If-Match")
			changed := s.call("PATCH", path, token, change, "If-Match", tag)
			if changed.status != 200 || changed.header.Get("ETag") == tag || changed.header.Get("ETag") != s.call("GET", path, token, nil).header.Get("ETag") {
				t.Errorf("the change of %s gets the response %d, ETag %q after %q", path, changed.status, changed.header.Get("ETag"), tag)
			}
			tag = changed.header.Get("ETag")
		}
		wantProblem(t, s.call("DELETE", path, token, nil, "If-Match", `W/`+tag), http.StatusPreconditionFailed, husk.CodePreconditionFailed, "If-Match")
		if a := s.call("DELETE", path, token, nil, "If-Match", `"other", `+tag); a.status >= 300 {
			t.Errorf("deleting %s with its ETag gets the response %d %s", path, a.status, a.body)
		}
	}
	as[openapi.Image](t, s.call("GET", "/v1/images/"+c.image.ID.String(), c.token, nil), 200)
	wantProblem(t, s.call("DELETE", "/v1/images/"+c.image.ID.String(), c.token, nil, "If-Match", `"never"`), 412, husk.CodePreconditionFailed, "If-Match")
	if a := s.call("DELETE", "/v1/images/"+c.image.ID.String(), c.token, nil, "If-Match", "*"); a.status != 202 {
		t.Errorf("an ETag of * gets the response %d", a.status)
	}
}

func TestLabelSelectorsAreThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	labels := map[string]map[string]any{
		"none": {}, "web": {"app": "web", "tier": "front"}, "api": {"app": "api", "tier": "back"}, "canary": {"app": "web", "tier": "front", "canary": "true"},
	}
	for name, l := range labels {
		pod := c.body(name)
		pod["labels"] = l
		as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, pod), 201)
		as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": name, "sizeGiB": 1, "labels": l}), 201)
	}
	for selector, want := range map[string][]string{
		"": {"api", "canary", "none", "web"}, "app=web": {"canary", "web"}, "app==web,!canary": {"web"}, "app!=web": {"api", "none"},
		"app in (web, api),tier notin (back)": {"canary", "web"}, "canary": {"canary"}, "tier notin (front)": {"api", "none"}, "app=": {},
		"app=web,app=api": {}, "app in (web),tier=front,canary!=true": {"web"},
	} {
		for _, list := range []string{"/v1/pods", "/v1/volumes"} {
			a := s.call("GET", list+"?labelSelector="+strings.NewReplacer(" ", "%20", "=", "%3D", "!", "%21").Replace(selector), c.token, nil)
			got := []string{}
			for _, i := range as[struct{ Items []struct{ Name string } }](t, a, 200).Items {
				got = append(got, i.Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", selector, list, diff)
			}
			// Lists select in SQL, watches select in the server.
			watched := []string{}
			lines := s.stream(list+"?watch=true&labelSelector="+strings.NewReplacer(" ", "%20", "=", "%3D", "!", "%21").Replace(selector), c.token)
			for line := range lines {
				if line == "event: synced" {
					break
				}
				if data, ok := strings.CutPrefix(line, "data: "); ok {
					watched = append(watched, as[struct{ Name string }](t, response{status: 200, body: data}, 200).Name)
				}
			}
			slices.Sort(watched)
			if diff := cmp.Diff(want, watched); diff != "" {
				t.Errorf("a watch with %s of %s (-want +got):\n%s", selector, list, diff)
			}
		}
	}
	for _, bad := range []string{"app in", "=web", "app>5", "a=b,,", strings.Repeat("a,", 33) + "a", "app in (" + strings.Repeat("x", 70) + ")"} {
		wantProblem(t, s.call("GET", "/v1/pods?labelSelector="+strings.NewReplacer(" ", "%20", "=", "%3D", ">", "%3E").Replace(bad), c.token, nil), 422, husk.CodeInvalid, "labelSelector")
	}
}

func TestFieldsThatOnlyHuskSetsAreRefusedByName(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for _, field := range []string{"id", "status", "generation", "createdAt", "deletionRequestedAt"} {
		pod := c.body("web")
		pod[field] = map[string]any{}
		wantProblem(t, s.call("POST", "/v1/pods", c.token, pod), 422, husk.CodeReadOnlyField, field)
	}
	pod := c.body("web")
	pod["color"] = "blue"
	wantProblem(t, s.call("POST", "/v1/pods", c.token, pod), 422, husk.CodeUnknownField, "color")
	wantProblem(t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "d", "sizeGiB": 1, "state": "Available"}), 422, husk.CodeReadOnlyField, "state")
}

func TestPagesAreCompleteWhileRowsAreAddedAndDeleted(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	volume := func(name string) openapi.Volume {
		return as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": name, "sizeGiB": 1}), 201)
	}
	var made []openapi.Volume
	for i := range 9 {
		made = append(made, volume(fmt.Sprintf("v%d", i)))
	}
	seen := map[uuid.UUID]int{}
	cursor := ""
	for page := 0; ; page++ {
		l := as[openapi.VolumeList](t, s.call("GET", "/v1/volumes?limit=2"+cursor, c.token, nil), 200)
		for _, v := range l.Items {
			seen[v.ID]++
		}
		if l.NextCursor == nil {
			break
		}
		volume(fmt.Sprintf("late-%d", page)) // adds a volume for every page
		if page > 20 {
			break // the list would never end
		}
		cursor = "&cursor=" + *l.NextCursor
		if page == 6 {
			break
		}
	}
	for _, v := range made {
		if seen[v.ID] != 1 {
			t.Errorf("%s was seen %d times", v.Name, seen[v.ID])
		}
	}
}

func TestHarmfulBodiesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for name, w := range map[string]struct {
		body   string
		header []string
		status int
		code   husk.Code
		field  string
	}{
		"compressed":             {"\x1f\x8b\x08\x00", []string{"Content-Encoding", "gzip"}, 415, husk.CodeUnsupportedEncoding, "Content-Encoding"},
		"deeply nested":          {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), nil, 422, husk.CodeInvalid, ""},
		"nested a million times": {strings.Repeat("[", 1_000_000), nil, 422, husk.CodeInvalid, ""},
		"a name twice":           {`{"name":"a","name":"b","sizeGiB":1}`, nil, 422, husk.CodeInvalid, ""},
		"two values":             {`{"name":"a","sizeGiB":1}{}`, nil, 422, husk.CodeInvalid, ""},
		"no JSON":                {`name=a`, nil, 422, husk.CodeInvalid, ""},
		"five megabytes":         {`{"name":"` + strings.Repeat("a", 5<<20) + `"}`, nil, 413, husk.CodeTooLarge, ""},
	} {
		a := s.call("POST", "/v1/volumes", c.token, w.body, w.header...)
		if a.status != w.status || a.problem.Code != string(w.code) {
			t.Errorf("a body with %s gets the response %d %s", name, a.status, a.body)
		}
	}
}

func TestAddressOfARequest(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/64")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"nobody between":                     {"192.0.2.1:5", nil, "192.0.2.1"},
		"an untrusted peer with a header":    {"192.0.2.1:5", []string{"198.51.100.9"}, "192.0.2.1"},
		"a proxy":                            {"10.0.0.1:5", []string{"198.51.100.9"}, "198.51.100.9"},
		"a proxy and a forged first address": {"10.0.0.1:5", []string{"127.0.0.1, 198.51.100.9"}, "198.51.100.9"},
		"two proxies in two headers":         {"10.0.0.1:5", []string{"198.51.100.9", "10.0.0.2"}, "198.51.100.9"},
		"a proxy without a header":           {"10.0.0.1:5", nil, "10.0.0.1"},
		"a proxy with an invalid header":     {"10.0.0.1:5", []string{"unknown"}, "10.0.0.1"},
		"IPv6":                               {"[2001:db8::1]:5", []string{"2001:db8:1::7"}, "2001:db8:1::7"},
		"IPv4 in IPv6":                       {"[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.9"}, "198.51.100.9"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := request.AddressOf(r, trusted); got.String() != c.want {
			t.Errorf("%s: the address is %s, want %s", name, got, c.want)
		}
	}
}

func TestTheEventsOfAnObjectAreListed(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod, other := s.createPod(c), s.createPod(c)
	s.place(node, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventRunning)
	events := as[openapi.EventList](t, s.call("GET", "/v1/events?objectId="+pod.ID.String(), c.token, nil), 200).Items
	reasons := []string{}
	for _, e := range events {
		reasons = append(reasons, e.Reason)
		if e.ObjectID != pod.ID || e.Kind != "pod" {
			t.Errorf("an event of the pod is %+v", e)
		}
	}
	if diff := cmp.Diff([]string{"Accepted", "Placed", "Running"}, reasons); diff != "" {
		t.Errorf("the reasons of the pod's events (-want +got):\n%s", diff)
	}
	if l := as[openapi.EventList](t, s.call("GET", "/v1/events?kind=image", c.token, nil), 200).Items; len(l) == 0 || slices.ContainsFunc(l, func(e openapi.Event) bool { return e.Kind != "image" }) {
		t.Errorf("the events of images are %+v", l)
	}
	if l := as[openapi.EventList](t, s.call("GET", "/v1/events?limit=2", c.token, nil), 200); len(l.Items) != 2 || l.NextCursor == nil {
		t.Errorf("the first page is %+v", l)
	}
	_ = other
}

func TestRequestsToRegistriesAreRateLimited(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	refused := 0
	for range 10 * auth.OutboundPerSecond {
		a := s.call("POST", "/v1/images", c.token, map[string]any{"reference": "127.0.0.1:1/web:1"})
		if a.status == http.StatusTooManyRequests {
			refused++
			if a.problem.Code != string(husk.CodeRateLimited) || a.header.Get("Retry-After") == "" {
				t.Errorf("an import above the limit gets the response %s", a.body)
			}
		}
	}
	if refused == 0 {
		t.Error("the imports of a tenant are not rate-limited")
	}
	if a := s.call("GET", "/v1/pods", c.token, nil); a.status != 200 {
		t.Errorf("another request gets the response %d", a.status)
	}
}
