// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/store"
)

// matrix is two tenants: one that owns something of every kind, and a stranger who knows all of its ids.
type matrix struct {
	fixture
	victim, stranger tenancy
	// viewer and expired are tokens of the stranger's own tenant.
	viewer, expired string
	node            uuid.UUID
	agent, other    fixture // the agent of the victim's node, and that of another

	pod, volume, account, key, user, issuer string
}

func newMatrix(t *testing.T) matrix {
	s := open(t)
	w := matrix{fixture: s, victim: s.tenant(), stranger: s.tenant()}
	w.node, w.agent = s.node()
	_, w.other = s.node()
	pod := s.order(w.victim)
	s.place(w.node, w.victim, pod.ID)
	w.pod = pod.ID.String()
	w.volume = as[openapi.Volume](t, s.call("POST", "/v1/volumes", w.victim.token, map[string]any{"name": "data", "sizeGiB": 1}), 201).ID.String()
	w.account = as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", w.victim.token, map[string]any{"name": "ci", "role": "viewer"}), 201).ID.String()
	w.key = as[openapi.APIKeyWithSecret](t, s.call("POST", "/v1/service-accounts/"+w.account+"/api-keys", w.victim.token, map[string]any{"name": "k"}), 201).ClientID.String()
	w.user = as[openapi.User](t, s.call("POST", "/v1/users", w.victim.token, map[string]any{"issuer": "https://login.example.com", "subject": "7", "role": "viewer"}), 201).ID.String()
	issuer, err := s.db.Tenant(w.victim.owner).CreateIssuer(t.Context(), store.NewIdempotency("", "test", "", nil), husk.OIDCIssuer{
		Name: "login", Issuer: "https://login.example.com", ClientID: "husk", RoleMappings: []husk.RoleMapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.issuer = issuer.ID.String()
	w.viewer = s.with(w.stranger, husk.RoleViewer)
	if w.expired, err = s.auth.IssueTokenFor(t.Context(), w.stranger.owner, -time.Hour); err != nil {
		t.Fatal(err)
	}
	return w
}

// attempt is a request with somebody's ids in it.
type attempt struct {
	path string
	body any
}

// ids are what an attempt names: the victim's, or ones that never were.
type ids struct{ pod, volume, image, account, key, user, issuer, node, tenant string }

func (w matrix) victims() ids {
	return ids{w.pod, w.volume, w.victim.image.ID.String(), w.account, w.key, w.user, w.issuer, w.node.String(), w.victim.id.String()}
}

func nobodys() ids {
	n := uuid.NewString
	return ids{n(), n(), n(), n(), n(), n(), n(), n(), n()}
}

// aim is the good request for each operation that one tenant could aim at another's things, in its path, its query or its body.
var aim = map[string]func(i ids) []attempt{
	"GetPod":          func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod}} },
	"DeletePod":       func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod}} },
	"GetPodPlacement": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/placement"}} },
	"GetPodLogs": func(i ids) []attempt {
		return []attempt{{path: "/v1/pods/" + i.pod + "/logs"}, {path: "/v1/pods/" + i.pod + "/logs?container=main"}}
	},
	"GetPodStats": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/stats"}} },
	"ExecInPod": func(i ids) []attempt {
		return []attempt{{path: "/v1/pods/" + i.pod + "/exec?command=ls"}, {path: "/v1/pods/" + i.pod + "/exec?command=ls&container=other"}}
	},
	"AttachToPod":    func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/attach"}} },
	"OpenPodConsole": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/console"}} },
	"ForwardPodPort": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/port-forward?port=80"}} },
	"CopyFromPod":    func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/copy-out?path=/etc"}} },
	"CopyToPod":      func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/copy-in?path=/etc"}} },
	"GetVolume":      func(i ids) []attempt { return []attempt{{path: "/v1/volumes/" + i.volume}} },
	"DeleteVolume":   func(i ids) []attempt { return []attempt{{path: "/v1/volumes/" + i.volume}} },
	"GetImage":       func(i ids) []attempt { return []attempt{{path: "/v1/images/" + i.image}} },
	"DeleteImage":    func(i ids) []attempt { return []attempt{{path: "/v1/images/" + i.image}} },
	"CreatePod": func(i ids) []attempt {
		pod := func(image string, volumes ...any) attempt {
			return attempt{"/v1/pods", map[string]any{"name": "p", "spec": map[string]any{
				"containers": []any{map[string]any{"name": "main", "image": image}}, "volumes": volumes, "resources": map[string]any{"cpuMillis": 500, "memoryMiB": 128},
			}}}
		}
		own := "registry.example.com/web:1"
		return []attempt{pod(i.image), pod(own, map[string]any{"name": "v", "volumeId": i.volume})}
	},
	"GetServiceAccount": func(i ids) []attempt { return []attempt{{path: "/v1/service-accounts/" + i.account}} },
	"UpdateServiceAccount": func(i ids) []attempt {
		return []attempt{{"/v1/service-accounts/" + i.account, map[string]any{"role": "owner"}}}
	},
	"DeleteServiceAccount":   func(i ids) []attempt { return []attempt{{path: "/v1/service-accounts/" + i.account}} },
	"ListServiceAccountKeys": func(i ids) []attempt { return []attempt{{path: "/v1/service-accounts/" + i.account + "/api-keys"}} },
	"CreateServiceAccountKey": func(i ids) []attempt {
		return []attempt{{"/v1/service-accounts/" + i.account + "/api-keys", map[string]any{"name": "k"}}}
	},
	"DeleteServiceAccountKey": func(i ids) []attempt {
		return []attempt{{path: "/v1/service-accounts/" + i.account + "/api-keys/" + i.key}}
	},
	"GetUser":       func(i ids) []attempt { return []attempt{{path: "/v1/users/" + i.user}} },
	"UpdateUser":    func(i ids) []attempt { return []attempt{{"/v1/users/" + i.user, map[string]any{"disabled": true}}} },
	"DeleteUser":    func(i ids) []attempt { return []attempt{{path: "/v1/users/" + i.user}} },
	"GetOIDCIssuer": func(i ids) []attempt { return []attempt{{path: "/v1/oidc-issuers/" + i.issuer}} },
	"UpdateOIDCIssuer": func(i ids) []attempt {
		return []attempt{{"/v1/oidc-issuers/" + i.issuer, map[string]any{"roleMappings": []any{}}}}
	},
	"DeleteOIDCIssuer": func(i ids) []attempt { return []attempt{{path: "/v1/oidc-issuers/" + i.issuer}} },
	"CreateOIDCIssuer": func(i ids) []attempt {
		return []attempt{{"/v1/oidc-issuers", map[string]any{"name": "x", "issuer": "https://login.example.com", "clientId": "husk", "roleMappings": []any{
			map[string]any{"claim": "sub", "value": "7", "role": "owner", "tenantId": i.tenant},
		}}}}
	},
	"ListEvents": func(i ids) []attempt { return []attempt{{path: "/v1/events?objectId=" + i.pod}} },
}

// show is the good request for each operation of tenants that names nobody's things; what it answers must show nothing foreign.
var show = map[string]attempt{
	"GetTenantMetrics": {path: "/v1/metrics"}, "ListMetricsTargets": {path: "/v1/metrics/targets"},
	"GetUsage": {path: "/v1/usage?groupBy=object"},
	"WhoAmI":   {path: "/v1/whoami"}, "GetQuota": {path: "/v1/quota"}, "ListPods": {path: "/v1/pods"}, "ListVolumes": {path: "/v1/volumes"},
	"ListImages": {path: "/v1/images"}, "ListServiceAccounts": {path: "/v1/service-accounts"}, "ListUsers": {path: "/v1/users"},
	"ListOIDCIssuers": {path: "/v1/oidc-issuers"}, "ListAudit": {path: "/v1/audit"},
	"CreateVolume":         {"/v1/volumes", map[string]any{"name": "data", "sizeGiB": 1}},
	"ImportImage":          {"/v1/images", map[string]any{"reference": "registry.example.com/web:1"}},
	"CreateServiceAccount": {"/v1/service-accounts", map[string]any{"name": "ci", "role": "viewer"}},
	"CreateUser":           {"/v1/users", map[string]any{"issuer": "https://login.example.com", "subject": "7", "role": "viewer"}},
}

// method finds the HTTP method of an operation.
func (w matrix) method(id string) string {
	for _, op := range operations(w.contract.spec) {
		if op.id == id {
			return op.method
		}
	}
	w.t.Fatalf("the contract has no operation %s", id)
	return ""
}

// bare returns a response without the parts that differ from request to request.
func bare(t testing.TB, a answer) string {
	t.Helper()
	if !strings.Contains(a.header.Get("Content-Type"), "json") {
		return a.body
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	delete(v, "requestId")
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Every operation of the contract, called without a token, with an expired one, as another tenant, as a viewer and as the agent of
// another node. An operation that this test does not know fails it.
func TestNoOperationLeadsThroughTheWalls(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	for _, op := range operations(w.contract.spec) {
		rule := access[op.id]
		attempts := []attempt{{path: op.path}}
		_, known := show[op.id]
		switch make := aim[op.id]; {
		case make != nil:
			attempts = make(w.victims())
		case known:
			attempts = []attempt{show[op.id]}
		case rule.public || slices.Contains(rule.kinds, husk.CallerOperator) || slices.Contains(rule.kinds, husk.CallerAgent):
		default:
			t.Errorf("%s is not covered: add a good request to aim or to show", op.id)
			continue
		}
		for _, a := range attempts {
			w.tryAll(op, rule, a)
		}
	}
}

// tryAll sends one request as everyone who has no business with it.
func (w matrix) tryAll(op operation, rule accessRule, a attempt) {
	body := a.body
	if body == nil && (op.method == "POST" || op.method == "PATCH") {
		body = map[string]any{}
	}
	if rule.public {
		return // its credentials are in the body; those are tried by the tests of tokens and of joining
	}
	for name, token := range map[string]string{"nobody": "", "an expired token": w.expired} {
		got := w.call(op.method, a.path, token, body)
		if got.status != http.StatusUnauthorized || got.problem.Code != string(husk.CodeUnauthenticated) {
			w.t.Errorf("%s with %s gets the response %d %s", op.id, name, got.status, got.body)
		}
	}
	// A certificate opens nothing but the agents' operations.
	if !slices.Contains(rule.kinds, husk.CallerAgent) {
		if got := w.other.call(op.method, a.path, "", body); got.status != http.StatusUnauthorized {
			w.t.Errorf("%s by a node's agent gets the response %d %s", op.id, got.status, got.body)
		}
	}
	got := w.call(op.method, a.path, w.viewer, body)
	switch reads := slices.Contains(rule.kinds, husk.CallerTenant) && rule.role == husk.RoleViewer; {
	case slices.Contains(rule.kinds, husk.CallerAgent):
		if got.status != http.StatusUnauthorized {
			w.t.Errorf("%s by a viewer gets the response %d %s", op.id, got.status, got.body)
		}
	case reads && got.status == http.StatusForbidden, !reads && (got.status != http.StatusForbidden || got.problem.Code != string(husk.CodeForbidden)):
		w.t.Errorf("%s by a viewer gets the response %d %s", op.id, got.status, got.body)
	}
}

func TestAForeignIDIsOneThatNeverWas(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	before := w.inventory()
	for id, attempts := range aim {
		method := w.method(id)
		theirs, absent := attempts(w.victims()), attempts(nobodys())
		for i := range theirs {
			foreign, never := w.call(method, theirs[i].path, w.stranger.token, theirs[i].body), w.call(method, absent[i].path, w.stranger.token, absent[i].body)
			mine, others := strings.NewReplacer(pairs(w.victims())...), strings.NewReplacer(pairs(idsIn(absent[i]))...)
			if foreign.status != never.status || mine.Replace(bare(t, foreign)) != others.Replace(bare(t, never)) {
				t.Errorf("%s tells a foreign id (%d %s) from one that never was (%d %s)", id, foreign.status, foreign.body, never.status, never.body)
			}
			if foreign.status < 400 && id != "ListEvents" {
				t.Errorf("%s with a foreign id gets the response %d %s", id, foreign.status, foreign.body)
			}
			for name := range foreign.header {
				if _, there := never.header[name]; !there {
					t.Errorf("%s has the header %s only for a foreign id", id, name)
				}
			}
		}
	}
	for id, a := range show {
		got := w.call(w.method(id), a.path, w.stranger.token, a.body)
		for _, theirs := range []string{w.pod, w.volume, w.victim.image.ID.String(), w.account, w.key, w.user, w.issuer, w.victim.id.String(), w.node.String()} {
			if strings.Contains(got.body, theirs) {
				t.Errorf("%s shows a stranger %s: %s", id, theirs, got.body)
			}
		}
	}
	if after := w.inventory(); after != before {
		t.Errorf("the victim's things were\n%s\nand are\n%s", before, after)
	}
}

// pairs replaces ids by their kind, so that a message may quote what the caller itself sent.
func pairs(i ids) []string {
	return []string{i.pod, "POD", i.volume, "VOLUME", i.image, "IMAGE", i.account, "ACCOUNT", i.key, "KEY", i.user, "USER", i.issuer, "ISSUER", i.tenant, "TENANT"}
}

// idsIn finds the ids that an attempt was made with.
func idsIn(a attempt) ids {
	raw, err := json.Marshal(a.body)
	if err != nil {
		panic(err)
	}
	found := uuidPattern.FindAllString(a.path+string(raw), -1)
	one := cmp.Or(append(found, "none")...)
	return ids{one, one, one, one, one, one, one, one, one}
}

// inventory returns everything of the victim, as its owner sees it.
func (w matrix) inventory() string {
	var all []string
	for _, path := range []string{
		"/v1/pods", "/v1/volumes", "/v1/images", "/v1/service-accounts", "/v1/users", "/v1/oidc-issuers", "/v1/events", "/v1/quota",
		"/v1/service-accounts/" + w.account + "/api-keys", "/v1/audit",
	} {
		a := w.call("GET", path, w.victim.token, nil)
		if a.status != 200 {
			w.t.Fatalf("%s gets the response %d %s", path, a.status, a.body)
		}
		all = append(all, a.body)
	}
	return strings.Join(all, "\n")
}

// How long a response takes must not distinguish a foreign id from one that never existed. Foreign and absent ids are requested in turns; when
// neither tends to be slower, either one of a pair is the slower as often as the other. The machine's noise hits both alike.
func TestResponseTimesDoNotRevealForeignIDs(t *testing.T) {
	w := newMatrix(t)
	const pairsOfCalls, tolerated, rounds = 120, 0.18, 3
	for id, attempts := range aim {
		method := w.method(id)
		theirs := attempts(w.victims())
		for i := range theirs {
			share := 0.0
			for range rounds { // a disturbance does not come three times; a difference does
				share = w.slowerShare(method, theirs[i], func() attempt { return attempts(nobodys())[i] }, pairsOfCalls)
				if share > 0.5-tolerated && share < 0.5+tolerated {
					break
				}
			}
			if share <= 0.5-tolerated || share >= 0.5+tolerated {
				t.Errorf("%s: in %.0f %% of the pairs the foreign id takes longer than one that never was", id, 100*share)
			}
		}
	}
}

// slowerShare returns how often the foreign id takes longer. The two requests take turns to go first.
func (w matrix) slowerShare(method string, foreign attempt, absent func() attempt, n int) float64 {
	timed := func(a attempt) time.Duration {
		start := time.Now()
		w.call(method, a.path, w.stranger.token, a.body)
		return time.Since(start)
	}
	slower := 0
	for i := range n {
		other := absent()
		var f, a time.Duration
		if i%2 == 0 {
			f, a = timed(foreign), timed(other)
		} else {
			a, f = timed(other), timed(foreign)
		}
		if f > a {
			slower++
		}
	}
	return float64(slower) / float64(n)
}

func TestAnAgentCannotReachPodsOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	status := func() openapi.PodStatus {
		return as[openapi.Pod](t, w.call("GET", "/v1/pods/"+w.pod, w.victim.token, nil), 200).Status
	}
	before := status()
	w.report(w.other, uuid.MustParse(w.pod), 1, husk.EventFailed) // taken and dropped: it is not its pod
	w.report(w.other, uuid.New(), 1, husk.EventFailed)
	if after := status(); after.Phase != before.Phase || after.Reason != nil {
		t.Errorf("another node's agent made the pod %s", after.Phase)
	}
	if d := as[openapi.DesiredState](t, w.other.call("GET", "/v1/agent/desired", "", nil), 200); len(d.Pods) != 0 {
		t.Errorf("another node's agent is shown %+v", d.Pods)
	}
	if d := as[openapi.DesiredState](t, w.agent.call("GET", "/v1/agent/desired", "", nil), 200); len(d.Pods) != 1 {
		t.Errorf("the pod's own agent is shown %+v", d.Pods)
	}
	for _, op := range operations(w.contract.spec) {
		if slices.Contains(access[op.id].kinds, husk.CallerAgent) && strings.Contains(op.path, "{") {
			t.Errorf("%s takes ids in its path; say here what another node's agent gets", op.id)
		}
	}
}

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
