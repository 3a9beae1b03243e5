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

// matrix has two tenants: a victim that owns an object of every kind, and a stranger who knows all
// of its IDs.
type matrix struct {
	fixture
	victim, stranger tenancy
	// viewer and expired are tokens of the stranger's own tenant.
	viewer, expired string
	node            uuid.UUID
	agent, other    fixture // the agent of the victim's node, and the agent of another node

	pod, volume, snapshot, config, network, service, address, group, ingress, account, key, user, issuer string
}

func newMatrix(t *testing.T) matrix {
	s := open(t)
	w := matrix{fixture: s, victim: s.tenant(), stranger: s.tenant()}
	w.node, w.agent = s.node()
	_, w.other = s.node()
	pod := s.createPod(w.victim)
	s.place(w.node, w.victim, pod.ID)
	w.pod = pod.ID.String()
	w.volume = as[openapi.Volume](t, s.call("POST", "/v1/volumes", w.victim.token, map[string]any{"name": "data", "sizeGiB": 1}), 201).ID.String()
	if err := s.db.Control().VolumeMade(t.Context(), husk.Volume{TenantID: w.victim.id, ID: uuid.MustParse(w.volume)}, "abc", nil); err != nil {
		t.Fatal(err)
	}
	w.snapshot = as[openapi.Snapshot](t, s.call("POST", "/v1/snapshots", w.victim.token, map[string]any{"name": "s", "volumeId": w.volume}), 201).ID.String()
	w.config = s.config(w.victim, "Config", "web", map[string]any{"A": "1"}).ID.String()
	w.network = as[openapi.Network](t, s.call("POST", "/v1/networks", w.victim.token, map[string]any{"name": "back"}), 201).ID.String()
	w.service = as[openapi.Service](t, s.call("POST", "/v1/services", w.victim.token, map[string]any{"name": "web", "selector": "app", "headless": true}), 201).ID.String()
	w.address = as[openapi.Address](t, s.call("POST", "/v1/addresses", w.victim.token, map[string]any{"name": "web"}), 201).ID.String()
	w.group = as[openapi.SecurityGroup](t, s.call("POST", "/v1/security-groups", w.victim.token, map[string]any{"name": "web"}), 201).ID.String()
	w.ingress = as[openapi.Ingress](t, s.call("POST", "/v1/ingresses", w.victim.token, map[string]any{"name": "web", "rules": rules("www.victim.example.com")}), 201).ID.String()
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
	w.viewer = s.tokenOf(w.stranger, husk.RoleViewer)
	if w.expired, err = s.auth.IssueTokenFor(t.Context(), w.stranger.owner, -time.Hour); err != nil {
		t.Fatal(err)
	}
	return w
}

// attempt is a request that contains IDs of objects.
type attempt struct {
	path string
	body any
}

// rules are those of an ingress with one host.
func rules(host string) []any {
	return []any{map[string]any{"host": host, "paths": []any{map[string]any{"service": "web", "port": 80}}}}
}

// ids are the IDs in an attempt: those of the victim's objects, or random ones.
type ids struct {
	pod, volume, snapshot, config, network, service, address, group, ingress, image, account, key, user, issuer, node, tenant string
}

func (w matrix) victimIDs() ids {
	return ids{w.pod, w.volume, w.snapshot, w.config, w.network, w.service, w.address, w.group, w.ingress, w.victim.image.ID.String(), w.account, w.key, w.user, w.issuer, w.node.String(), w.victim.id.String()}
}

func randomIDs() ids {
	n := uuid.NewString
	return ids{n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n(), n()}
}

// aim has valid requests for each operation that takes IDs of objects in its path, query or body.
var aim = map[string]func(i ids) []attempt{
	"GetPod":          func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod}} },
	"DeletePod":       func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod}} },
	"GetPodPlacement": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/placement"}} },
	"GetPodLogs": func(i ids) []attempt {
		return []attempt{{path: "/v1/pods/" + i.pod + "/logs"}, {path: "/v1/pods/" + i.pod + "/logs?container=main"}}
	},
	"GetPodStatsHistory": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/stats/history"}} },
	"GetPodStats":        func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/stats"}} },
	"ExecInPod": func(i ids) []attempt {
		return []attempt{{path: "/v1/pods/" + i.pod + "/exec?command=ls"}, {path: "/v1/pods/" + i.pod + "/exec?command=ls&container=other"}}
	},
	"AttachToPod":    func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/attach"}} },
	"OpenPodConsole": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/console"}} },
	"ForwardPodPort": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/port-forward?port=80"}} },
	"CopyFromPod":    func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/copy-out?path=/etc"}} },
	"CopyToPod":      func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/copy-in?path=/etc"}} },
	"UpdatePod": func(i ids) []attempt {
		return []attempt{{"/v1/pods/" + i.pod, map[string]any{"labels": map[string]any{"a": "b"}}}}
	},
	"ResizePod": func(i ids) []attempt {
		return []attempt{{"/v1/pods/" + i.pod + "/resources", map[string]any{"cpuMillis": 200}}}
	},
	"StopPod":    func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/stop"}} },
	"StartPod":   func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/start"}} },
	"RestartPod": func(i ids) []attempt { return []attempt{{path: "/v1/pods/" + i.pod + "/restart"}} },
	"KillPod": func(i ids) []attempt {
		return []attempt{{"/v1/pods/" + i.pod + "/kill", map[string]any{"signal": "HUP"}}}
	},
	"GetVolume": func(i ids) []attempt { return []attempt{{path: "/v1/volumes/" + i.volume}} },
	"UpdateVolume": func(i ids) []attempt {
		return []attempt{{path: "/v1/volumes/" + i.volume, body: map[string]any{"sizeGiB": 2}}}
	},
	"RestoreVolume": func(i ids) []attempt {
		return []attempt{{path: "/v1/volumes/" + i.volume + "/restore", body: map[string]any{"snapshotId": i.snapshot}}}
	},
	"GetSnapshot":    func(i ids) []attempt { return []attempt{{path: "/v1/snapshots/" + i.snapshot}} },
	"DeleteSnapshot": func(i ids) []attempt { return []attempt{{path: "/v1/snapshots/" + i.snapshot}} },
	"CreateSnapshot": func(i ids) []attempt {
		return []attempt{{path: "/v1/snapshots", body: map[string]any{"name": "s", "volumeId": i.volume}}}
	},
	"CreateVolume": func(i ids) []attempt {
		return []attempt{{path: "/v1/volumes", body: map[string]any{"name": "data", "sizeGiB": 1, "source": map[string]any{"snapshotId": i.snapshot}}}}
	},
	"ExportSnapshot": func(i ids) []attempt { return []attempt{{path: "/v1/snapshots/" + i.snapshot + "/content"}} },
	"DeleteVolume":   func(i ids) []attempt { return []attempt{{path: "/v1/volumes/" + i.volume}} },
	"GetConfig":      func(i ids) []attempt { return []attempt{{path: "/v1/configs/" + i.config}} },
	"UpdateConfig": func(i ids) []attempt {
		return []attempt{{"/v1/configs/" + i.config, map[string]any{"values": map[string]any{"A": "2"}}}}
	},
	"DeleteConfig": func(i ids) []attempt { return []attempt{{path: "/v1/configs/" + i.config}} },
	"GetNetwork":   func(i ids) []attempt { return []attempt{{path: "/v1/networks/" + i.network}} },
	"UpdateNetwork": func(i ids) []attempt {
		return []attempt{{"/v1/networks/" + i.network, map[string]any{"labels": map[string]any{"tier": "back"}}}}
	},
	"DeleteNetwork": func(i ids) []attempt { return []attempt{{path: "/v1/networks/" + i.network}} },
	"GetService":    func(i ids) []attempt { return []attempt{{path: "/v1/services/" + i.service}} },
	"UpdateService": func(i ids) []attempt {
		return []attempt{{"/v1/services/" + i.service, map[string]any{"selector": "app=web"}}}
	},
	"DeleteService": func(i ids) []attempt { return []attempt{{path: "/v1/services/" + i.service}} },
	"GetAddress":    func(i ids) []attempt { return []attempt{{path: "/v1/addresses/" + i.address}} },
	"UpdateAddress": func(i ids) []attempt {
		return []attempt{{"/v1/addresses/" + i.address, map[string]any{"target": map[string]any{}}}}
	},
	"DeleteAddress": func(i ids) []attempt { return []attempt{{path: "/v1/addresses/" + i.address}} },
	"CreateAddress": func(i ids) []attempt {
		return []attempt{
			{"/v1/addresses", map[string]any{"name": "a", "target": map[string]any{"podId": i.pod}}},
			{"/v1/addresses", map[string]any{"name": "a", "target": map[string]any{"serviceId": i.service}}},
		}
	},
	"GetSecurityGroup": func(i ids) []attempt { return []attempt{{path: "/v1/security-groups/" + i.group}} },
	"UpdateSecurityGroup": func(i ids) []attempt {
		return []attempt{{"/v1/security-groups/" + i.group, map[string]any{"rules": []any{}}}}
	},
	"GetSecurityGroupTraffic": func(i ids) []attempt { return []attempt{{path: "/v1/security-groups/" + i.group + "/traffic"}} },
	"DeleteSecurityGroup":     func(i ids) []attempt { return []attempt{{path: "/v1/security-groups/" + i.group}} },
	"GetIngress":              func(i ids) []attempt { return []attempt{{path: "/v1/ingresses/" + i.ingress}} },
	"UpdateIngress": func(i ids) []attempt {
		return []attempt{{"/v1/ingresses/" + i.ingress, map[string]any{"rules": rules("www.aim.example.com")}}}
	},
	"DeleteIngress":       func(i ids) []attempt { return []attempt{{path: "/v1/ingresses/" + i.ingress}} },
	"ListIngressRequests": func(i ids) []attempt { return []attempt{{path: "/v1/ingresses/" + i.ingress + "/requests"}} },
	"GetImage":            func(i ids) []attempt { return []attempt{{path: "/v1/images/" + i.image}} },
	"DeleteImage":         func(i ids) []attempt { return []attempt{{path: "/v1/images/" + i.image}} },
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

// show has a valid request for each operation of tenants that takes no IDs. The response must not
// contain objects of other tenants.
var show = map[string]attempt{
	"GetTenantMetrics": {path: "/v1/metrics"}, "ListMetricsTargets": {path: "/v1/metrics/targets"},
	"GetUsage": {path: "/v1/usage?groupBy=object"},
	"WhoAmI":   {path: "/v1/whoami"}, "GetPlatform": {path: "/v1/platform"}, "GetQuota": {path: "/v1/quota"}, "ListPods": {path: "/v1/pods"}, "ListVolumes": {path: "/v1/volumes"}, "ListVolumeClasses": {path: "/v1/volume-classes"}, "ImportVolume": {"/v1/volume-imports?name=show", map[string]any{}}, "ListSnapshots": {path: "/v1/snapshots"},
	"ListImages": {path: "/v1/images"}, "ListConfigs": {path: "/v1/configs"}, "ListNetworks": {path: "/v1/networks"}, "ListServices": {path: "/v1/services"}, "ListIngresses": {path: "/v1/ingresses"}, "ListAddresses": {path: "/v1/addresses"}, "ListSecurityGroups": {path: "/v1/security-groups"}, "ListServiceAccounts": {path: "/v1/service-accounts"}, "ListUsers": {path: "/v1/users"},
	"ListOIDCIssuers": {path: "/v1/oidc-issuers"}, "ListAudit": {path: "/v1/audit"},
	"CreateNetwork":        {"/v1/networks", map[string]any{"name": "front"}},
	"CreateService":        {"/v1/services", map[string]any{"name": "web", "selector": "app", "headless": true}},
	"CreateSecurityGroup":  {"/v1/security-groups", map[string]any{"name": "web"}},
	"CreateIngress":        {"/v1/ingresses", map[string]any{"name": "web", "rules": rules("www.show.example.com")}},
	"CreateConfig":         {"/v1/configs", map[string]any{"kind": "Secret", "name": "db"}},
	"ImportImage":          {"/v1/images", map[string]any{"reference": "registry.example.com/web:1"}},
	"CreateServiceAccount": {"/v1/service-accounts", map[string]any{"name": "ci", "role": "viewer"}},
	"CreateUser":           {"/v1/users", map[string]any{"issuer": "https://login.example.com", "subject": "7", "role": "viewer"}},
}

// method returns the HTTP method of an operation.
func (w matrix) method(id string) string {
	for _, op := range operations(w.contract.spec) {
		if op.id == id {
			return op.method
		}
	}
	w.t.Fatalf("the contract has no operation %s", id)
	return ""
}

// withoutRequestID returns a response's body without the request ID, which differs between
// requests.
func withoutRequestID(t testing.TB, a response) string {
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

// Every operation of the contract is called without a token, with an expired token, as a viewer of
// another tenant and as the agent of another node. The test fails if the contract has an operation
// that the test does not cover.
func TestEveryOperationRefusesUnauthorizedCallers(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	for _, op := range operations(w.contract.spec) {
		rule := access[op.id]
		attempts := []attempt{{path: op.path}}
		_, known := show[op.id]
		switch make := aim[op.id]; {
		case make != nil:
			attempts = make(w.victimIDs())
		case known:
			attempts = []attempt{show[op.id]}
		case rule.public || slices.Contains(rule.kinds, husk.CallerOperator) || slices.Contains(rule.kinds, husk.CallerAgent):
		default:
			t.Errorf("%s is not covered: add a valid request to aim or to show", op.id)
			continue
		}
		for _, a := range attempts {
			w.tryAll(op, rule, a)
		}
	}
}

// tryAll sends one request as every caller who is not authorized for it.
func (w matrix) tryAll(op operation, rule accessRule, a attempt) {
	body := a.body
	if body == nil && (op.method == "POST" || op.method == "PATCH") {
		body = map[string]any{}
	}
	if rule.public {
		return // the credentials are in the body; the tests of tokens and of joining cover them
	}
	for name, token := range map[string]string{"nobody": "", "an expired token": w.expired} {
		got := w.call(op.method, a.path, token, body)
		if got.status != http.StatusUnauthorized || got.problem.Code != string(husk.CodeUnauthenticated) {
			w.t.Errorf("%s with %s gets the response %d %s", op.id, name, got.status, got.body)
		}
	}
	// A node's certificate authorizes only the agents' operations.
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

func TestAForeignIDLooksLikeAnUnknownID(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	before := w.inventory()
	for id, attempts := range aim {
		method := w.method(id)
		theirs, absent := attempts(w.victimIDs()), attempts(randomIDs())
		for i := range theirs {
			foreign, unknown := w.call(method, theirs[i].path, w.stranger.token, theirs[i].body), w.call(method, absent[i].path, w.stranger.token, absent[i].body)
			mine, others := strings.NewReplacer(pairs(w.victimIDs())...), strings.NewReplacer(pairs(idsIn(absent[i]))...)
			if foreign.status != unknown.status || mine.Replace(withoutRequestID(t, foreign)) != others.Replace(withoutRequestID(t, unknown)) {
				t.Errorf("%s responds differently to a foreign ID (%d %s) and to an unknown one (%d %s)", id, foreign.status, foreign.body, unknown.status, unknown.body)
			}
			if foreign.status < 400 && id != "ListEvents" {
				t.Errorf("%s with a foreign ID gets the response %d %s", id, foreign.status, foreign.body)
			}
			for name := range foreign.header {
				if _, there := unknown.header[name]; !there {
					t.Errorf("%s has the header %s only for a foreign ID", id, name)
				}
			}
		}
	}
	for id, a := range show {
		got := w.call(w.method(id), a.path, w.stranger.token, a.body)
		for _, theirs := range []string{w.pod, w.volume, w.config, w.network, w.service, w.address, w.group, w.ingress, w.victim.image.ID.String(), w.account, w.key, w.user, w.issuer, w.victim.id.String(), w.node.String()} {
			if strings.Contains(got.body, theirs) {
				t.Errorf("%s shows the victim's ID %s to a stranger: %s", id, theirs, got.body)
			}
		}
	}
	if after := w.inventory(); after != before {
		t.Errorf("the victim's objects were\n%s\nand are\n%s", before, after)
	}
}

// pairs are replacements of IDs by their kind for strings.NewReplacer, because messages may quote
// the IDs in the request.
func pairs(i ids) []string {
	return []string{i.pod, "POD", i.volume, "VOLUME", i.config, "CONFIG", i.network, "NETWORK", i.service, "SERVICE", i.address, "ADDRESS", i.group, "GROUP", i.ingress, "INGRESS", i.image, "IMAGE", i.account, "ACCOUNT", i.key, "KEY", i.user, "USER", i.issuer, "ISSUER", i.tenant, "TENANT"}
}

// idsIn returns the IDs in an attempt.
func idsIn(a attempt) ids {
	raw, err := json.Marshal(a.body)
	if err != nil {
		panic(err)
	}
	found := uuidPattern.FindAllString(a.path+string(raw), -1)
	one := cmp.Or(append(found, "none")...)
	return ids{one, one, one, one, one, one, one, one, one, one, one, one, one, one, one, one}
}

// inventory returns all objects of the victim, as its owner sees them.
func (w matrix) inventory() string {
	var all []string
	for _, path := range []string{
		"/v1/pods", "/v1/volumes", "/v1/configs", "/v1/networks", "/v1/services", "/v1/addresses", "/v1/security-groups", "/v1/ingresses", "/v1/images", "/v1/service-accounts", "/v1/users", "/v1/oidc-issuers", "/v1/events", "/v1/quota",
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

// The response time must not reveal whether an ID belongs to another tenant or does not exist. The
// test requests foreign and absent IDs in pairs. If neither kind is slower, each is the slower one
// in about half of the pairs. Noise of the machine affects both kinds equally.
func TestResponseTimesDoNotRevealForeignIDs(t *testing.T) {
	w := newMatrix(t)
	const pairsOfCalls, tolerated, rounds = 120, 0.18, 3
	for id, attempts := range aim {
		method := w.method(id)
		theirs := attempts(w.victimIDs())
		for i := range theirs {
			share := 0.0
			for range rounds { // noise does not repeat three times, but a difference does
				share = w.slowerShare(method, theirs[i], func() attempt { return attempts(randomIDs())[i] }, pairsOfCalls)
				if share > 0.5-tolerated && share < 0.5+tolerated {
					break
				}
			}
			if share <= 0.5-tolerated || share >= 0.5+tolerated {
				t.Errorf("%s: in %.0f %% of the pairs the foreign ID takes longer than the unknown one", id, 100*share)
			}
		}
	}
}

// slowerShare returns the share of pairs in which the foreign ID takes longer. The two requests
// alternate in which is sent first.
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
	w.report(w.other, uuid.MustParse(w.pod), 1, husk.EventFailed) // accepted but ignored, because the pod is not on this agent's node
	w.report(w.other, uuid.New(), 1, husk.EventFailed)
	if after := status(); after.Phase != before.Phase || after.Reason != nil {
		t.Errorf("another node's agent made the pod %s", after.Phase)
	}
	if d := as[openapi.DesiredState](t, w.other.call("GET", "/v1/agent/desired", "", nil), 200); len(d.Pods) != 0 {
		t.Errorf("the desired state of another node has the pods %+v", d.Pods)
	}
	if d := as[openapi.DesiredState](t, w.agent.call("GET", "/v1/agent/desired", "", nil), 200); len(d.Pods) != 1 {
		t.Errorf("the desired state of the pod's node has the pods %+v", d.Pods)
	}
	for _, op := range operations(w.contract.spec) {
		if slices.Contains(access[op.id].kinds, husk.CallerAgent) && strings.Contains(op.path, "{") {
			t.Errorf("%s takes IDs in its path; add a check for the agent of another node to this test", op.id)
		}
	}
}

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
