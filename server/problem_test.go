// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/server/request"
)

func TestAnInvalidRequestNamesTheField(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	pod := func(change func(pod, spec, container map[string]any)) map[string]any {
		body := c.body("web")
		spec := body["spec"].(map[string]any)
		change(body, spec, spec["containers"].([]any)[0].(map[string]any))
		return body
	}
	type m = map[string]any
	for name, w := range map[string]struct {
		body  any
		code  husk.Code
		field string
	}{
		"an unknown field":               {pod(func(p, _, _ m) { p["colour"] = "red" }), husk.CodeUnknownField, "colour"},
		"an unknown field further down":  {pod(func(_, s, _ m) { s["resources"].(m)["gpus"] = 1 }), husk.CodeUnknownField, "spec.resources.gpus"},
		"an unknown field in a list":     {pod(func(_, _, c m) { c["hostname"] = true }), husk.CodeUnknownField, "spec.containers[0].hostname"},
		"a text for a number":            {pod(func(_, s, _ m) { s["resources"].(m)["cpuMillis"] = "500" }), husk.CodeInvalid, "spec.resources.cpuMillis"},
		"a fraction for a whole number":  {pod(func(_, s, _ m) { s["resources"].(m)["memoryMiB"] = 128.5 }), husk.CodeInvalid, "spec.resources.memoryMiB"},
		"too little memory":              {pod(func(_, s, _ m) { s["resources"].(m)["memoryMiB"] = 1 }), husk.CodeInvalid, "spec.resources.memoryMiB"},
		"a negative number":              {pod(func(_, s, _ m) { s["resources"].(m)["cpuMillis"] = -1 }), husk.CodeInvalid, "spec.resources.cpuMillis"},
		"no name":                        {pod(func(p, _, _ m) { delete(p, "name") }), husk.CodeInvalid, "name"},
		"no containers":                  {pod(func(_, s, _ m) { s["containers"] = []any{} }), husk.CodeInvalid, "spec.containers"},
		"XML in the name":                {pod(func(p, _, _ m) { p["name"] = "<domain type='kvm'>&amp;</domain>" }), husk.CodeInvalid, "name"},
		"XML in a container's name":      {pod(func(_, _, c m) { c["name"] = "]]><x/>" }), husk.CodeInvalid, "spec.containers[0].name"},
		"a name that is too long":        {pod(func(p, _, _ m) { p["name"] = strings.Repeat("a", 64) }), husk.CodeInvalid, "name"},
		"a name with a line break":       {pod(func(p, _, _ m) { p["name"] = "web\n" }), husk.CodeInvalid, "name"},
		"a path that is not absolute":    {pod(func(_, _, c m) { c["workingDir"] = "srv" }), husk.CodeInvalid, "spec.containers[0].workingDir"},
		"a file outside the root":        {pod(func(_, _, c m) { c["files"] = []any{m{"path": "/a/../../etc/passwd"}} }), husk.CodeInvalid, "spec.containers[0].files[0].path"},
		"an unknown restart policy":      {pod(func(_, s, _ m) { s["restartPolicy"] = "Sometimes" }), husk.CodeInvalid, "spec.restartPolicy"},
		"a volume ID that is not a UUID": {pod(func(_, s, _ m) { s["volumes"] = []any{m{"name": "a", "volumeId": "x"}} }), husk.CodeInvalid, "spec.volumes[0].volumeId"},
		"a volume that does not exist":   {pod(func(_, s, _ m) { s["volumes"] = []any{m{"name": "a", "volumeId": uuid.New()}} }), husk.CodeNotFound, "spec.volumes[0].volumeId"},
		"an image that was not imported": {pod(func(_, _, c m) { c["image"] = "registry.example.com/none:1" }), husk.CodeImageNotFound, "spec.containers[0].image"},
		"a zero character in a label":    {pod(func(p, _, _ m) { p["labels"] = m{"a": "\x00"} }), husk.CodeInvalid, ""},
		"a null for a list":              {pod(func(_, s, _ m) { s["volumes"] = nil }), husk.CodeInvalid, "spec.volumes"},
		"a list for the body":            {"[]", husk.CodeInvalid, ""},
		"a body that is not JSON":        {`{"name": "web",`, husk.CodeInvalid, ""},
		"a body with a second value":     {`{"name": "web"} {"name": "web"}`, husk.CodeInvalid, ""},
		"an empty body":                  {"", husk.CodeInvalid, ""},
		"a body nested too deep":         {strings.Repeat("[", 20_000), husk.CodeInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			s.t = t
			a := s.call("POST", "/v1/pods", c.token, w.body)
			status := http.StatusUnprocessableEntity
			if w.code == husk.CodeNotFound {
				status = http.StatusNotFound
			}
			wantProblem(t, a, status, w.code, w.field)
			if a.problem.Detail == nil || *a.problem.Detail == "" || len(*a.problem.Detail) > 500 {
				t.Errorf("the detail is not a sentence: %s", a.body)
			}
		})
	}
	if a := s.call("GET", "/v1/pods", c.token, nil); !strings.HasPrefix(a.body, `{"items":[]`) {
		t.Errorf("invalid requests created pods: %s", a.body)
	}
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.body("web"), "Content-Type", "text/yaml"), 422, husk.CodeInvalid, "")
	for number, field := range map[string]string{"1e400": "", "1e2": "sizeGiB", "1.5": "sizeGiB"} {
		a := s.call("POST", "/v1/volumes", c.token, `{"name":"a","sizeGiB":`+number+`}`, "Content-Type", "application/json")
		if wantProblem(t, a, 422, husk.CodeInvalid, field); strings.Contains(*a.problem.Detail, "json") || strings.Contains(*a.problem.Detail, "Go ") {
			t.Errorf("the response to the size %s is about our program: %s", number, *a.problem.Detail)
		}
	}
	for _, token := range []string{"null", "undefined", "a.b.c", "bnVsbA.e30.x"} {
		if a := s.call("GET", "/v1/volumes", token, nil); a.status != 401 || !strings.Contains(*a.problem.Detail, "the token does not verify") {
			t.Errorf("the token %q gets the response %d %s", token, a.status, a.body)
		}
	}
}

func TestABadParameterIsNamed(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "cursor=x": "cursor", "name=%3Cx%3E": "name", "watch=maybe": "watch",
	} {
		wantProblem(t, s.call("GET", "/v1/pods?"+query, c.token, nil), 422, husk.CodeInvalid, field)
	}
	for query, words := range map[string]string{"limit=abc": "write a whole number from 1 to 1000", "watch=maybe": "write true or false"} {
		if p := s.call("GET", "/v1/pods?"+query, c.token, nil); !strings.Contains(p.body, words) {
			t.Errorf("%s gets %s, want %q", query, p.body, words)
		}
	}
	wantProblem(t, s.call("GET", "/v1/images?reference=%ff", c.token, nil), 422, husk.CodeInvalid, "")
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.body("web"), "Idempotency-Key", strings.Repeat("k", 256)), 422, husk.CodeInvalid, "Idempotency-Key")
}

func TestALargeBodyIsRefusedAndTheConnectionSurvives(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	s.web = &http.Client{Transport: contractual(t, transport)}
	reused := 0
	trace := func(r *http.Request) *http.Request {
		return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				reused++
			}
		}}))
	}
	for range 3 {
		a := s.send(trace(s.request("POST", "/v1/pods", c.token, `{"name": "`+strings.Repeat("x", 10<<20)+`"}`)))
		wantProblem(t, a, http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "")
	}
	if a := s.send(trace(s.request("GET", "/v1/pods", c.token, nil))); a.status != 200 {
		t.Errorf("after a large body: %d", a.status)
	}
	if reused != 3 {
		t.Errorf("%d of the 3 later requests reused the connection", reused)
	}
	files := []any{}
	for range 4 {
		files = append(files, map[string]any{"path": named("/f"), "content": strings.Repeat("x", 200_000)})
	}
	body := c.body("web")
	body["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["files"] = files
	wantProblem(t, s.call("POST", "/v1/pods", c.token, body), http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "spec.containers")
}

func TestAllMissingObjectsLookTheSame(t *testing.T) {
	t.Parallel()
	s := open(t)
	mine, theirs := s.tenant(), s.tenant()
	pod := s.createPod(theirs)
	volume := as[husk.Volume](t, s.call("POST", "/v1/volumes", theirs.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	blank := func(a response) string {
		if a.status != http.StatusNotFound || a.problem.RequestID == nil {
			t.Errorf("the response is %d %s", a.status, a.body)
			return ""
		}
		headers := a.header.Clone()
		for _, h := range []string{"X-Request-Id", "Date"} {
			headers.Del(h)
		}
		text := strings.ReplaceAll(a.body, *a.problem.RequestID, "")
		for name := range headers {
			text += "\n" + name + ": " + headers.Get(name)
		}
		return strings.Join(sorted(strings.Split(text, "\n")), "\n")
	}
	operator := s.operator()
	for _, c := range []struct{ method, path, token, foreign, rest string }{
		{"GET", "/v1/pods/", mine.token, pod.ID.String(), ""},
		{"DELETE", "/v1/pods/", mine.token, pod.ID.String(), ""},
		{"GET", "/v1/pods/", mine.token, pod.ID.String(), "/logs"},
		{"GET", "/v1/volumes/", mine.token, volume.ID.String(), ""},
		{"DELETE", "/v1/volumes/", mine.token, volume.ID.String(), ""},
		{"GET", "/v1/images/", mine.token, theirs.image.ID.String(), ""},
		{"DELETE", "/v1/images/", mine.token, theirs.image.ID.String(), ""},
		{"GET", "/v1/admin/tenants/", operator, "", ""},
		{"DELETE", "/v1/admin/tenants/", operator, "", ""},
		{"GET", "/v1/admin/tenants/", operator, "", "/api-keys"},
		{"GET", "/v1/admin/nodes/", operator, "", ""},
		{"DELETE", "/v1/admin/nodes/", operator, "", ""},
		{"DELETE", "/v1/admin/tenants/" + mine.id.String() + "/api-keys/", operator, "", ""},
	} {
		unknown := blank(s.call(c.method, c.path+uuid.NewString()+c.rest, c.token, nil))
		for _, id := range []string{c.foreign, "not-an-id", "%3Cxml%3E", "..."} {
			if id == "" {
				continue
			}
			if got := blank(s.call(c.method, c.path+id+c.rest, c.token, nil)); got != unknown {
				t.Errorf("%s %s%s%s differs from an unknown id:\n%s\n%s", c.method, c.path, id, c.rest, got, unknown)
			}
		}
	}
	// The same applies to the other tenant's volume in a request for a pod.
	createPod := func(id string) response {
		body := mine.body("web")
		body["spec"].(map[string]any)["volumes"] = []any{map[string]any{"name": "a", "volumeId": id}}
		return s.call("POST", "/v1/pods", mine.token, body)
	}
	if foreign, unknown := blank(createPod(volume.ID.String())), blank(createPod(uuid.NewString())); foreign != unknown {
		t.Errorf("a foreign volume differs from an unknown one:\n%s\n%s", foreign, unknown)
	}
	if a := s.call("GET", "/v1/pods/"+pod.ID.String(), theirs.token, nil); a.status != 200 {
		t.Errorf("the owner's pod: %d %s", a.status, a.body)
	}
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := open(t)
	for path, method := range map[string]string{"/v1/pods": "PUT", "/v1/pods/" + uuid.NewString(): "PUT", "/healthz": "POST", "/oauth2/token": "GET"} {
		wantProblem(t, s.call(method, path, "", nil), http.StatusMethodNotAllowed, husk.CodeMethodNotAllowed, "")
	}
	for _, path := range []string{"/nowhere", "/v1", "/v1/pods/", "/v2/pods", "/v1/pods/a/b", "/v1//pods", "/favicon.ico"} {
		wantProblem(t, s.call("GET", path, "", nil), http.StatusNotFound, husk.CodeNotFound, "")
	}
}

func TestAPanicBecomesAProblem(t *testing.T) {
	t.Parallel()
	s := open(t)
	var log strings.Builder
	observer := newObserver(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry(), "")
	web := httptest.NewServer(observer.observe(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a secret in the panic") })))
	defer web.Close()
	s.url = web.URL
	for range 2 {
		a := s.call("GET", "/v1/pods", "", nil)
		wantProblem(t, a, http.StatusInternalServerError, husk.CodeInternal, "")
		if strings.Contains(a.body, "secret") {
			t.Errorf("the response shows the panic: %s", a.body)
		}
		if !strings.Contains(log.String(), *a.problem.RequestID) || !strings.Contains(log.String(), "a secret in the panic") {
			t.Errorf("the log does not contain the panic: %s", &log)
		}
	}
}

func TestInternalErrorsAppearOnlyInTheLog(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	p := problems{slog.New(slog.NewTextHandler(&log, nil))}
	for name, c := range map[string]struct {
		err    error
		status int
	}{
		"an internal error":                        {errors.New("rados: secret"), 500},
		"an error with a public part":              {unavailable(errors.New("dial secret")), 503},
		"an error with a public and a hidden part": {errors.Join(husk.Errorf(husk.CodeRegistryUnreachable, "reference", "the registry does not respond"), errors.New("secret")), 502},
	} {
		w := httptest.NewRecorder()
		p.write(w, httptest.NewRequest(http.MethodGet, "/nowhere", nil), c.err)
		if w.Code != c.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s gets the response %d %s", name, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "secret") {
			t.Errorf("the log does not contain %s", name)
		}
		log.Reset()
		if c.status == 503 && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

func TestNoProblemContainsARegularExpression(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../openapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`pattern: '([^']+)'`).FindAllSubmatch(raw, -1) {
		used[string(m[1])] = true
		if request.PatternWords[string(m[1])] == "" {
			t.Errorf("PatternWords does not say in words what %s requires", m[1])
		}
	}
	for pattern := range request.PatternWords {
		if !used[pattern] {
			t.Errorf("the contract has no pattern %s", pattern)
		}
	}
	s := open(t)
	c := s.tenant()
	a := s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "Web_1", "sizeGiB": 1})
	wantProblem(t, a, http.StatusUnprocessableEntity, husk.CodeInvalid, "name")
	if !strings.Contains(a.body, "lowercase letters") || strings.Contains(a.body, "[a-z0-9]") {
		t.Errorf("the response is %s", a.body)
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	for code, status := range statusOf {
		if http.StatusText(status) == "" || status < 400 {
			t.Errorf("%s has the status %d", code, status)
		}
	}
	if len(statusOf) != 34 {
		t.Errorf("%d codes have a status; add a new code to statusOf and to this test", len(statusOf))
	}
}

func FuzzFieldPath(f *testing.F) {
	f.Add("spec/containers/0/name")
	f.Add("/0//7")
	f.Fuzz(func(t *testing.T, pointer string) {
		got := fieldPath(strings.Split(pointer, "/"))
		if strings.Contains(got, "[]") || strings.HasPrefix(got, ".") && !strings.HasPrefix(pointer, ".") && !strings.Contains(pointer, "/") {
			t.Errorf("%q becomes %q", pointer, got)
		}
	})
}

// A misspelled parameter would have no effect. The endpoint for logins ignores unknown ones, because RFC 6749 requires it.
func TestUnknownParametersAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	wantProblem(t, s.call("GET", "/v1/pods?labelSelektor=app", c.token, nil), http.StatusUnprocessableEntity, husk.CodeInvalid, "labelSelektor")
	wantProblem(t, s.call("POST", "/v1/pods?dryrun=true", c.token, c.body("web")), http.StatusUnprocessableEntity, husk.CodeInvalid, "dryrun")
	wantProblem(t, s.call("GET", "/v1/pods?labelSelektor=app", "", nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	if a := s.call("GET", "/.well-known/husk?x=1", "", nil); a.status != http.StatusOK {
		t.Errorf("a public operation refuses a parameter: %d %s", a.status, a.body)
	}
}
