// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/openapi"
)

func TestTheDashboardIsServedNextToTheAPI(t *testing.T) {
	t.Parallel()
	page, script := "<!doctype html>"+strings.Repeat("<p>", 200), strings.Repeat("export const a = 1;\n", 50)
	d, err := newDashboard(fstest.MapFS{
		"index.html": {Data: []byte(page)}, "assets/a-1234.js": {Data: []byte(script)}, "icon.svg": {Data: []byte("<svg/>")}, ".keep": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t)
	serve := func(d dashboard) {
		web := httptest.NewServer(newObserver(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), "").observe(d.serve(problems{slog.New(slog.DiscardHandler)}, s.Handler())))
		t.Cleanup(web.Close)
		s.url = web.URL
	}
	serve(d)
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ask := func(method, path string, headers ...string) response {
		t.Helper()
		resp, err := client.Do(s.request(method, path, "", nil, headers...))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response{status: resp.StatusCode, header: resp.Header, body: string(body)}
	}
	for _, path := range []string{"/", "/ui"} {
		if a := ask("GET", path); a.status != http.StatusFound || a.header.Get("Location") != "/ui/" {
			t.Errorf("%s redirects with %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	for _, path := range []string{"/ui/", "/ui/pods", "/ui/pods/" + uuid.NewString() + "?tab=logs", "/ui/index.html"} {
		a := ask("GET", path)
		if a.status != http.StatusOK || a.body != page || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s gets the response %d %v", path, a.status, a.header)
		}
		if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("the policy of %s is %q", path, csp)
		}
	}
	asset := ask("GET", "/ui/assets/a-1234.js", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(bytes.NewBufferString(asset.body))
	if err != nil {
		t.Fatalf("the script is not compressed: %v, %v", err, asset.header)
	}
	if plain, err := io.ReadAll(z); err != nil || string(plain) != script || !strings.Contains(asset.header.Get("Cache-Control"), "immutable") || asset.header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("the script is %d bytes, %v, with %v", len(plain), err, asset.header)
	}
	if a := ask("GET", "/ui/assets/a-1234.js", "Accept-Encoding", "gzip;q=0"); a.body != script || a.header.Get("Content-Encoding") != "" {
		t.Errorf("a client that does not accept gzip gets %v", a.header)
	}
	tag := ask("GET", "/ui/").header.Get("ETag")
	if a := ask("GET", "/ui/", "If-None-Match", tag); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("a request with a current ETag gets the response %d", a.status)
	}
	if a := ask("HEAD", "/ui/"); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD gets the response %d with %d bytes", a.status, len(a.body))
	}
	for path, method := range map[string]string{"/ui/assets/old-99.js": "GET", "/ui/": "POST", "/uix": "GET"} {
		if a := ask(method, path); a.status != http.StatusNotFound || !strings.Contains(a.body, `"requestId"`) {
			t.Errorf("%s %s gets the response %d %s", method, path, a.status, a.body)
		}
	}
	serve(dashboard{})
	if a := ask("GET", "/ui/"); a.status != http.StatusNotFound || !strings.Contains(a.body, "make build") {
		t.Errorf("without a dashboard the response is %d %s", a.status, a.body)
	}
}

func TestOperatorsSeeAllPodsWithTheirResources(t *testing.T) {
	t.Parallel()
	s := open(t)
	one, other := s.tenant(), s.tenant()
	for c, names := range map[*tenancy][]string{&one: {"a", "b", "c"}, &other: {"d"}} {
		for _, name := range names {
			as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.body(name)), 201)
		}
	}
	list := func(query string) openapi.PlacedPodList {
		t.Helper()
		return as[openapi.PlacedPodList](t, s.call("GET", "/v1/admin/pods"+query, s.operator(), nil), 200)
	}
	all := list("").Items
	if len(all) != 4 || all[0].NodeID != nil || all[0].Phase != "Pending" || all[0].Resources.CPUMillis == 0 || all[0].TenantName == "" {
		t.Fatalf("the pods are %+v", all)
	}
	mine := list("?tenantId=" + one.id.String())
	if len(mine.Items) != 3 || mine.Items[0].TenantID != one.id || mine.Items[0].TenantName != s.name(one) {
		t.Errorf("a tenant's pods are %+v", mine)
	}
	first := list("?limit=3")
	if len(first.Items) != 3 || first.NextCursor == nil {
		t.Fatalf("the first page is %+v", first)
	}
	if rest := list("?limit=3&cursor=" + *first.NextCursor); len(rest.Items) != 1 || rest.NextCursor != nil || rest.Items[0].ID != all[3].ID {
		t.Errorf("the second page is %+v", rest)
	}
	if none := list("?nodeId=" + uuid.NewString()); len(none.Items) != 0 {
		t.Errorf("a node that does not exist has %+v", none)
	}
	wantProblem(t, s.call("GET", "/v1/admin/pods", one.token, nil), http.StatusForbidden, husk.CodeForbidden, "")
}
