// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"gopkg.in/yaml.v3"

	"husk/openapi"
)

func TestAClientThatHasAnObjectGets304(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	volume := as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	path := "/v1/volumes/" + volume.ID.String()
	tag := s.call("GET", path, c.token, nil).header.Get("ETag")
	for condition, want := range map[string]int{tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, "": 200} {
		got := s.call("GET", path, c.token, nil, "If-None-Match", condition)
		if got.status != want || (got.body == "") != (want == 304) || got.header.Get("ETag") != tag {
			t.Errorf("If-None-Match: %s gets %d with the ETag %s and %d bytes, want %d", condition, got.status, got.header.Get("ETag"), len(got.body), want)
		}
	}
	if got := s.call("GET", "/v1/volumes/"+c.id.String(), c.token, nil, "If-None-Match", "*"); got.status != 404 || got.problem.Code != "not_found" {
		t.Errorf("a volume that does not exist gets %d %s", got.status, got.body)
	}
	if got := s.call("GET", path, "", nil, "If-None-Match", tag); got.status != 401 {
		t.Errorf("without a token, the status is %d", got.status)
	}
}

func TestHEADIsAGETWithoutABody(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	pod := s.createPod(c)
	for path, want := range map[string]int{
		"/v1/pods": 200, "/v1/pods/" + pod.ID.String(): 200, "/v1/quota": 200, "/healthz": 200, "/openapi.yaml": 200, "/v1/nothing": 404, "/v1/pods?colour=blue": 422,
		"/v1/pods?watch=true": 405, "/v1/pods/" + pod.ID.String() + "/logs": 405, "/v1/pods/" + pod.ID.String() + "/console": 405,
	} {
		head := s.send(s.request("HEAD", path, c.token, nil))
		if head.status != want || head.body != "" {
			t.Errorf("HEAD %s gets %d with %d bytes, want %d", path, head.status, len(head.body), want)
		}
		if want != 200 {
			continue
		}
		get := s.call("GET", path, c.token, nil)
		for _, name := range []string{"Content-Type", "ETag"} {
			if head.header.Get(name) != get.header.Get(name) {
				t.Errorf("HEAD %s has the %s %q, and GET has %q", path, name, head.header.Get(name), get.header.Get(name))
			}
		}
	}
}

func TestPagesOfListsAreLinked(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for i := range 5 {
		as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": fmt.Sprintf("v%d", i), "sizeGiB": 1, "labels": map[string]string{"a": "b"}}), 201)
	}
	at, found := "/v1/volumes?limit=2&labelSelector=a%3Db", ""
	for at != "" {
		page := s.call("GET", at, c.token, nil)
		list := as[openapi.VolumeList](t, page, 200)
		for _, v := range list.Items {
			found += v.Name
		}
		link := page.header.Get("Link")
		if (list.NextCursor == nil) != (link == "") {
			t.Fatalf("a page with the cursor %v has the link %q", list.NextCursor, link)
		}
		if at = ""; link != "" {
			target, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
			u, err := url.Parse(target)
			if !ok || err != nil || u.Query().Get("limit") != "2" || u.Query().Get("labelSelector") != "a=b" {
				t.Fatalf("the link is %q: %v", link, err)
			}
			at = target
		}
	}
	if found != "v0v1v2v3v4" {
		t.Errorf("following the links finds %s", found)
	}
}

func TestBrowsersStayOnHTTPS(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{"https://husk.example.com": "max-age=31536000", "http://husk.example.com": "", "https://localhost:8443": ""} {
		s := open(t).configured(func(c *Config) { c.Issuer = issuer })
		for _, path := range []string{"/healthz", "/v1/pods", "/ui/", "/nothing"} {
			if got := s.call("GET", path, "", nil).header.Get("Strict-Transport-Security"); got != want {
				t.Errorf("%s of %s has Strict-Transport-Security: %q, want %q", path, issuer, got, want)
			}
		}
	}
}

func TestTheContractIsServedForGenerators(t *testing.T) {
	t.Parallel()
	s := open(t)
	asJSON, asYAML := s.call("GET", "/openapi.json", "", nil), s.call("GET", "/openapi.yaml", "", nil)
	var a, b any
	if err := json.Unmarshal([]byte(asJSON.body), &a); err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(asYAML.body), &node); err != nil {
		t.Fatal(err)
	}
	anchors(t, &node)
	if err := node.Decode(&b); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(b)
	if err != nil || string(again) != asJSON.body {
		t.Errorf("the two documents differ: %v", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(asJSON.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("the document is not valid: %v", err)
	}
	served := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			served[operationName(op.OperationID)] = true
		}
	}
	for path, item := range s.contract.spec.Paths.Map() {
		for method, op := range item.Operations() {
			if agents := op.Tags[0] == "agent"; served[operationName(op.OperationID)] == agents {
				t.Errorf("%s %s is in the document: %t", method, path, agents)
			}
		}
	}
	for name, scheme := range doc.Components.SecuritySchemes {
		if scheme.Value.Type != "http" || scheme.Value.Scheme != "bearer" {
			t.Errorf("the scheme %s is %s %s, which generators do not know", name, scheme.Value.Type, scheme.Value.Scheme)
		}
	}
	for _, word := range []string{"x-go-", "x-omitempty", "mutual-tls"} {
		if strings.Contains(asJSON.body, word) {
			t.Errorf("the document has %s", word)
		}
	}
	for path, first := range map[string]response{"/openapi.json": asJSON, "/openapi.yaml": asYAML} {
		if got := s.call("GET", path, "", nil, "If-None-Match", first.header.Get("ETag")); got.status != 304 {
			t.Errorf("%s with its ETag gets %d", path, got.status)
		}
	}
}

func anchors(t *testing.T, n *yaml.Node) {
	t.Helper()
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		t.Errorf("line %d has the anchor or alias %s%s", n.Line, n.Anchor, n.Value)
	}
	for _, c := range n.Content {
		anchors(t, c)
	}
}

func TestOAuthClientsFindTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := s.call("GET", "/.well-known/oauth-authorization-server", "", nil), s.call("GET", "/.well-known/openid-configuration", "", nil)
	if a.body != b.body {
		t.Errorf("the documents differ: %s and %s", a.body, b.body)
	}
	m := as[openapi.AuthorizationServer](t, a, 200)
	if m.Issuer != issuer || m.TokenEndpoint != issuer+"/oauth2/token" || m.JwksURI != issuer+"/.well-known/jwks.json" {
		t.Errorf("the metadata is %+v", m)
	}
	for _, grant := range m.GrantTypesSupported { // each is known: what is wrong is what it needs
		got := s.call("POST", "/oauth2/token", "", url.Values{"grant_type": {grant}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if strings.Contains(got.body, "unsupported_grant_type") {
			t.Errorf("the grant %s gets %s", grant, got.body)
		}
	}
}

func TestTheTokenEndpointRespondsWithErrorsOfRFC6749(t *testing.T) {
	t.Parallel()
	s := open(t)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for what, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"a wrong secret":               {"grant_type=client_credentials&client_id=" + s.operatorID.String() + "&client_secret=wrong", form, 401, "invalid_client"},
		"a wrong secret in Basic":      {"grant_type=client_credentials", append([]string{"Authorization", "Basic YTpi"}, form...), 401, "invalid_client"},
		"an unknown grant":             {"grant_type=password", form, 400, "unsupported_grant_type"},
		"no grant":                     {"scope=tenant:acme", form, 400, "invalid_request"},
		"no body":                      {"", form, 400, "invalid_request"},
		"JSON":                         {`{"grant_type":"client_credentials"}`, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"a client ID that is too long": {"grant_type=client_credentials&client_id=" + strings.Repeat("a", 300), form, 400, "invalid_request"},
		"a compressed body":            {"grant_type=client_credentials", append([]string{"Content-Encoding", "gzip"}, form...), 400, "invalid_request"},
		"a bad escape":                 {"grant_type=%zz", form, 400, "invalid_request"},
	} {
		got := s.call("POST", "/oauth2/token", "", c.body, c.headers...)
		var e openapi.OAuthError
		if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != c.status || string(e.Error) != c.code || got.header.Get("Content-Type") != "application/json" || openapi.Value(e.ErrorDescription) == "" {
			t.Errorf("%s gets %d %s, want %d %s: %v", what, got.status, got.body, c.status, c.code, err)
		}
		if got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the response can be cached", what)
		}
		if challenge := got.header.Get("WWW-Authenticate"); (what == "a wrong secret in Basic") != strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s gets %d with WWW-Authenticate: %q", what, got.status, challenge)
		}
	}
}

func TestEventsOfStreamsHaveIDs(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	s.createPod(c)
	ids := func(path string, headers ...string) []string {
		var all []string
		resp, err := s.web.Do(s.request("GET", path, c.token, nil, headers...))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
			line := scan.Text()
			if line == "event: synced" {
				break
			}
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				all = append(all, id)
			}
		}
		return all
	}
	first, second := ids("/v1/pods?watch=true"), ids("/v1/pods?watch=true")
	if len(first) != 1 || len(second) != 1 || first[0] != second[0] {
		t.Errorf("a pod that has not changed has the IDs %q and %q", first, second)
	}
	events := ids("/v1/events?watch=true")
	if len(events) == 0 {
		t.Fatal("there are no events")
	}
	last := events[len(events)-1]
	if got := ids("/v1/events?watch=true", "Last-Event-ID", last); len(got) == 0 || got[len(got)-1] != last {
		t.Errorf("after the event %s, the events %q arrive; those of the last minute are repeated", last, got)
	}
	later := "9000000000000000-" + c.id.String()
	if got := ids("/v1/events?watch=true", "Last-Event-ID", later); len(got) != 0 {
		t.Errorf("after a time in the future, the events %q arrive", got)
	}
}
