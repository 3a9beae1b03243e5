// SPDX-License-Identifier: Apache-2.0

package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
)

func (s fixture) config(c tenancy, kind, name string, values map[string]any) openapi.Config {
	s.t.Helper()
	return as[openapi.Config](s.t, s.call("POST", "/v1/configs", c.token, map[string]any{"kind": kind, "name": name, "values": values}), 201)
}

// podWith returns the body of a pod whose container and spec have these fields in addition.
func (c tenancy) podWith(name string, container, spec map[string]any) map[string]any {
	body := c.body(name)
	podSpec := body["spec"].(map[string]any)
	first := podSpec["containers"].([]any)[0].(map[string]any)
	maps.Copy(first, container)
	maps.Copy(podSpec, spec)
	return body
}

func TestAPodGetsTheValuesOfConfigsAndSecrets(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	const password, changed = "secret-hunter2", "secret-hunter3"
	config := s.config(c, "Config", "web", map[string]any{"LOG_LEVEL": "info", "app.conf": "listen = 80\n", "not a variable": nil})
	secret := s.config(c, "Secret", "web", map[string]any{"password": password})
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("web", map[string]any{
		"env": []any{
			map[string]any{"name": "PASSWORD", "from": map[string]any{"secret": "web", "key": "password"}},
			map[string]any{"name": "NONE", "from": map[string]any{"secret": "web", "key": "none", "optional": true}},
			map[string]any{"name": "ME", "from": map[string]any{"field": "name"}},
			map[string]any{"name": "APP_LOG_LEVEL", "value": "debug"},
		},
		"envFrom": []any{map[string]any{"config": "web", "prefix": "APP_"}, map[string]any{"config": "none", "optional": true}},
		"volumeMounts": []any{
			map[string]any{"volume": "conf", "mountPath": "/etc/web"},
			map[string]any{"volume": "keys", "mountPath": "/etc/keys/password", "subPath": "password"},
		},
	}, map[string]any{"volumes": []any{
		map[string]any{"name": "conf", "config": map[string]any{"name": "web", "items": []any{map[string]any{"key": "app.conf", "path": "d/app.conf", "mode": "0600"}}}},
		map[string]any{"name": "keys", "secret": map[string]any{"name": "web", "mode": "0400"}},
		map[string]any{"name": "all", "projected": []any{
			map[string]any{"config": map[string]any{"name": "web", "items": []any{map[string]any{"key": "app.conf"}, map[string]any{"key": "LOG_LEVEL", "path": "name"}}}},
			map[string]any{"secret": map[string]any{"name": "web"}},
			map[string]any{"files": []any{map[string]any{"path": "name", "field": "name", "mode": "0440"}, map[string]any{"path": "text", "content": "x"}, map[string]any{"path": "none", "field": "labels.none"}}},
		}},
	}})), 201)
	s.place(node, c, pod.ID)

	state := agent.desiredWhole()
	if len(state.Pods) != 1 {
		t.Fatalf("the node gets %d pods", len(state.Pods))
	}
	got := state.Pods[0]
	env := map[string]string{}
	for _, e := range got.Containers[0].Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	delete(env, "PATH")
	// A value of the pod's own takes precedence.
	if diff := cmp.Diff(map[string]string{"PASSWORD": password, "ME": "web", "A": "image", "APP_LOG_LEVEL": "debug", "APP_app.conf": "listen = 80\n"}, env); diff != "" {
		t.Error("environment:", diff)
	}
	files := map[string][]husk.VolumeFile{
		"conf": {{Path: "d/app.conf", ContentBase64: "bGlzdGVuID0gODAK", Mode: "0600"}},
		"keys": {{Path: "password", ContentBase64: "c2VjcmV0LWh1bnRlcjI=", Mode: "0400"}},
		"all": { // the last file with a path counts
			{Path: "app.conf", ContentBase64: "bGlzdGVuID0gODAK", Mode: "0644"},
			{Path: "password", ContentBase64: "c2VjcmV0LWh1bnRlcjI=", Mode: "0644"},
			{Path: "name", ContentBase64: "d2Vi", Mode: "0440"},
			{Path: "text", ContentBase64: "eA==", Mode: "0644"},
		},
	}
	for _, v := range got.Volumes {
		if diff := cmp.Diff(files[v.Name], v.Files); diff != "" || v.Serial != "" {
			t.Errorf("volume %s: %s", v.Name, diff)
		}
	}
	for _, m := range got.Containers[0].VolumeMounts {
		if !m.ReadOnly {
			t.Errorf("%s can be written", m.MountPath)
		}
	}

	// A changed value reaches the node as a change of the pod.
	at := "/v1/configs/" + secret.ID.String()
	now := as[openapi.Config](t, s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"password": changed}}), 200)
	if now.Version != 2 {
		t.Errorf("the version is %d", now.Version)
	}
	delta := agent.desiredSince(state.Revision)
	if len(delta.Pods) != 1 || delta.Pods[0].Volumes[1].Files[0].ContentBase64 != "c2VjcmV0LWh1bnRlcjM=" || delta.Pods[0].Generation != got.Generation+1 {
		t.Errorf("after a change the node gets %+v", delta.Pods)
	}
	// The same values again are no change.
	if again := as[openapi.Config](t, s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"password": changed}}), 200); again.Version != 2 {
		t.Errorf("the same value makes version %d", again.Version)
	}
	if more := agent.desiredSince(delta.Revision); len(more.Pods) != 0 {
		t.Errorf("the same value is sent again: %+v", more.Pods)
	}

	// No response of the API has a value of a secret, and none of a list has a value.
	for _, path := range []string{
		at, "/v1/configs", "/v1/configs?kind=Secret", "/v1/pods", "/v1/pods/" + pod.ID.String(), "/v1/events", "/v1/audit", "/v1/pods/" + pod.ID.String() + "/placement",
	} {
		for _, value := range []string{password, changed, "c2VjcmV0"} {
			if a := s.call("GET", path, c.token, nil); strings.Contains(a.body, value) {
				t.Errorf("%s has the secret: %s", path, a.body)
			}
		}
	}
	if list := s.call("GET", "/v1/configs", c.token, nil).body; strings.Contains(list, "listen") {
		t.Errorf("a list has values: %s", list)
	}
	if read := as[openapi.Config](t, s.call("GET", "/v1/configs/"+config.ID.String(), s.tokenOf(c, husk.RoleViewer), nil), 200); *(*read.Values)["LOG_LEVEL"] != "info" {
		t.Errorf("a viewer reads %+v", read)
	}

	// An object in use cannot be deleted.
	wantProblem(t, s.call("DELETE", at, c.token, nil), http.StatusConflict, husk.CodeConflict, "")
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	s.report(agent, pod.ID, int(delta.Pods[0].Generation)+1, husk.EventGone)
	if a := s.call("DELETE", at, c.token, nil, "If-Match", `"old"`); a.status != http.StatusPreconditionFailed {
		t.Errorf("an old version is deleted: %d %s", a.status, a.body)
	}
	if a := s.call("DELETE", at, c.token, nil); a.status != http.StatusNoContent {
		t.Errorf("the unused secret is not deleted: %d %s", a.status, a.body)
	}
	wantProblem(t, s.call("GET", at, c.token, nil), http.StatusNotFound, husk.CodeNotFound, "")
}

func TestWhatAPodNeedsOfAConfigMustExist(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	s.config(c, "Config", "web", map[string]any{"A": "1"})
	from := func(source map[string]any) map[string]any {
		return map[string]any{"env": []any{map[string]any{"name": "A", "from": source}}}
	}
	volume := func(v map[string]any) map[string]any { return map[string]any{"volumes": []any{v}} }
	for name, bad := range map[string]struct {
		container, spec map[string]any
		status          int
		code            husk.Code
		field           string
	}{
		"no such config":        {from(map[string]any{"config": "other", "key": "A"}), nil, 404, husk.CodeNotFound, "spec.containers[0].env[0].from"},
		"a secret of that name": {from(map[string]any{"secret": "web", "key": "A"}), nil, 404, husk.CodeNotFound, "spec.containers[0].env[0].from"},
		"no such key":           {from(map[string]any{"config": "web", "key": "B"}), nil, 404, husk.CodeNotFound, "spec.containers[0].env[0].from"},
		"no key":                {from(map[string]any{"config": "web"}), nil, 422, husk.CodeInvalid, "spec.containers[0].env[0].from.key"},
		"two sources":           {from(map[string]any{"config": "web", "secret": "web", "key": "A"}), nil, 422, husk.CodeInvalid, "spec.containers[0].env[0].from"},
		"an unknown field":      {from(map[string]any{"field": "color"}), nil, 422, husk.CodeInvalid, "spec.containers[0].env[0].from.field"},
		"no such envFrom":       {map[string]any{"envFrom": []any{map[string]any{"secret": "other"}}}, nil, 404, husk.CodeNotFound, "spec.containers[0].envFrom[0]"},
		"an empty envFrom":      {map[string]any{"envFrom": []any{map[string]any{}}}, nil, 422, husk.CodeInvalid, "spec.containers[0].envFrom[0]"},
		"no such volume":        {nil, volume(map[string]any{"name": "v", "secret": map[string]any{"name": "other"}}), 404, husk.CodeNotFound, "spec.volumes[0].secret.name"},
		"a volume of two kinds": {nil, volume(map[string]any{"name": "v", "config": map[string]any{"name": "web"}, "secret": map[string]any{"name": "web"}}), 422, husk.CodeInvalid, "spec.volumes[0]"},
		"an empty volume":       {nil, volume(map[string]any{"name": "v"}), 422, husk.CodeInvalid, "spec.volumes[0]"},
		"a path out of it": {
			nil, volume(map[string]any{"name": "v", "config": map[string]any{"name": "web", "items": []any{map[string]any{"key": "A", "path": "../x"}}}}), 422,
			husk.CodeInvalid, "spec.volumes[0].config.items[0].path",
		},
		"a key that is a path": {
			nil, volume(map[string]any{"name": "v", "config": map[string]any{"name": "web", "items": []any{map[string]any{"key": "/"}}}}), 422,
			husk.CodeInvalid, "spec.volumes[0].config.items[0].key",
		},
		"a directory that is a file": {nil, volume(map[string]any{"name": "v", "config": map[string]any{
			"name": "web", "items": []any{map[string]any{"key": "A", "path": "x/y"}, map[string]any{"key": "A", "path": "x"}},
		}}), 422, husk.CodeInvalid, "spec.volumes[0].config.items[1].path"},
		"a file below a file": {nil, volume(map[string]any{"name": "v", "config": map[string]any{
			"name": "web", "items": []any{map[string]any{"key": "A", "path": "x"}, map[string]any{"key": "A", "path": "x/y"}},
		}}), 422, husk.CodeInvalid, "spec.volumes[0].config.items[1].path"},
		"a sub path out of a volume": {
			map[string]any{"volumeMounts": []any{map[string]any{"volume": "v", "mountPath": "/x", "subPath": "../.."}}},
			volume(map[string]any{"name": "v", "config": map[string]any{"name": "web"}}), 422, husk.CodeInvalid, "spec.containers[0].volumeMounts[0].subPath",
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, s.call("POST", "/v1/pods", c.token, c.podWith("web", bad.container, bad.spec)), bad.status, bad.code, bad.field)
		})
	}
	other := s.tenant()
	wantProblem(t, s.call("POST", "/v1/pods", other.token, other.podWith("web", from(map[string]any{"config": "web", "key": "A"}), nil)), 404, husk.CodeNotFound, "spec.containers[0].env[0].from")
}

func TestValuesAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	create := func(body map[string]any) response {
		body["kind"] = "Config"
		if body["name"] == nil {
			body["name"] = "large"
		}
		return s.call("POST", "/v1/configs", c.token, body)
	}
	half := strings.Repeat("x", 300<<10)
	wantProblem(t, create(map[string]any{"values": map[string]any{"a": half, "b": half}}), http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "values")
	wantProblem(t, create(map[string]any{"values": map[string]any{"../a": "x"}}), 422, husk.CodeInvalid, "values")
	wantProblem(t, create(map[string]any{"values": map[string]any{"a": "x"}, "binaryValues": map[string]any{"a": "eA=="}}), 422, husk.CodeInvalid, "binaryValues")
	wantProblem(t, create(map[string]any{"binaryValues": map[string]any{"a": "eA"}}), 422, husk.CodeInvalid, "binaryValues")

	// A pod gets at most so much, also after a change.
	created := as[openapi.Config](t, create(map[string]any{"values": map[string]any{"a": strings.Repeat("x", 150<<10)}}), 201)
	twice := map[string]any{"volumes": []any{
		map[string]any{"name": "a", "config": map[string]any{"name": "large"}}, map[string]any{"name": "b", "config": map[string]any{"name": "large"}},
	}}
	as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("web", nil, twice)), 201)
	at := "/v1/configs/" + created.ID.String()
	refused := s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"b": half}})
	wantProblem(t, refused, http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "values")
	if !strings.Contains(refused.body, `pod \"web\"`) {
		t.Errorf("the problem does not name the pod: %s", refused.body)
	}
	as[openapi.Config](t, s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"b": strings.Repeat("x", 250<<10), "a": nil}}), 200)
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.podWith("more", nil, map[string]any{"volumes": append(twice["volumes"].([]any), map[string]any{"name": "c", "config": map[string]any{"name": "large"}})})),
		http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "spec.containers")

	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"configs": 1}}), 200)
	wantProblem(t, create(map[string]any{"name": "more"}), http.StatusForbidden, husk.CodeQuotaExceeded, "")
}

// No table has the values of configs and secrets in clear text, and a sealed value does not open in another row.
func TestValuesAreSealedInTheDatabase(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	const value = "value-hunter2"
	one, two := s.config(c, "Config", "one", map[string]any{"a": value}), s.config(c, "Config", "two", map[string]any{"a": "other"})
	s.call("PATCH", "/v1/configs/"+one.ID.String(), c.token, map[string]any{"values": map[string]any{"b": value}})
	db, err := pgx.Connect(t.Context(), s.database(store.RoleControl))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	rows, err := db.Query(t.Context(), "SELECT c::text FROM configs c UNION ALL SELECT i::text FROM idempotency_keys i UNION ALL SELECT a::text FROM audit a UNION ALL SELECT e::text FROM events e")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(all) < 4 {
		t.Fatal(len(all), err)
	}
	for _, row := range all {
		if strings.Contains(row, value) || strings.Contains(row, "dmFsdWUtaHVudGVyMg") || strings.Contains(row, "76616c75652d68756e74657232") {
			t.Errorf("a row has the value: %s", row)
		}
	}
	if _, err := db.Exec(t.Context(), "UPDATE configs SET sealed = (SELECT sealed FROM configs WHERE id = $1) WHERE id = $2", one.ID, two.ID); err != nil {
		t.Fatal(err)
	}
	if a := s.call("GET", "/v1/configs/"+two.ID.String(), c.token, nil); a.status != http.StatusInternalServerError || strings.Contains(a.body, value) {
		t.Errorf("a value of another row opens: %d %s", a.status, a.body)
	}
}

// A pod that has ended can be started again, so a change must not make it too large either. A node gets no values for it meanwhile.
func TestValuesOfEndedPodsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	config := s.config(c, "Config", "web", map[string]any{"other": "x"})
	var items []any
	for i := range 100 {
		items = append(items, map[string]any{"key": "k", "path": string(rune('a'+i/26)) + string(rune('a'+i%26))})
	}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("web", nil, map[string]any{
		"volumes": []any{map[string]any{"name": "v", "config": map[string]any{"name": "web", "optional": true, "items": items}}},
	})), 201)
	s.place(node, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventSucceeded)
	at := "/v1/configs/" + config.ID.String()
	wantProblem(t, s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"k": strings.Repeat("x", 100<<10)}}), http.StatusRequestEntityTooLarge, husk.CodeTooLarge, "values")
	as[openapi.Config](t, s.call("PATCH", at, c.token, map[string]any{"values": map[string]any{"k": "small"}}), 200)
	if state := agent.desiredWhole(); len(state.Pods) != 1 || len(state.Pods[0].Volumes[0].Files) != 0 {
		t.Errorf("the node of an ended pod gets %+v", state.Pods)
	}
}

// Values that cannot be opened any more, because a key was lost, do not make a pod run without them.
func TestUnreadableValuesAreReportedToTheNode(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	secret := s.config(c, "Secret", "db", map[string]any{"password": "first"})
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("web", map[string]any{
		"env": []any{map[string]any{"name": "PASSWORD", "from": map[string]any{"secret": "db", "key": "password"}}},
	}, map[string]any{})), 201)
	s.place(node, c, pod.ID)
	if got := agent.desiredWhole().Pods[0]; got.ValuesError != "" {
		t.Errorf("values that can be read are reported as lost: %s", got.ValuesError)
	}
	if _, err := s.connect(store.RoleControl).Exec(t.Context(), `UPDATE configs SET sealed = sealed || 'x'::bytea WHERE id = $1`, secret.ID); err != nil {
		t.Fatal(err)
	}
	if got, want := agent.desiredWhole().Pods[0], `the secret "db" cannot be read any more; store its values again`; got.ValuesError != want {
		t.Errorf("the node gets the error %q, want %q", got.ValuesError, want)
	}
	as[openapi.Config](t, s.call("PATCH", "/v1/configs/"+secret.ID.String(), c.token, map[string]any{"values": map[string]any{"password": "second"}}), 200)
	got := agent.desiredWhole().Pods[0]
	if got.ValuesError != "" || !slices.Contains(got.Containers[0].Env, "PASSWORD=second") {
		t.Errorf("after new values were stored, the node gets %q and %q", got.ValuesError, got.Containers[0].Env)
	}
}
