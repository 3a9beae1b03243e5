// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
	"husk/test/oidcprovider"
)

// logBuffer is a log that a test can read while the server writes it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (n *logBuffer) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *logBuffer) String() string { n.mu.Lock(); defer n.mu.Unlock(); return n.b.String() }

// Whether requests succeed or fail, neither the log (at any level) nor an error response contains a
// secret.
func TestNoSecretIsInALog(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := open(t).logging(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := oidcprovider.Start(t)
	c := s.tenant()
	responses := []response{}
	call := func(method, path, token string, body any, headers ...string) response {
		a := s.call(method, path, token, body, headers...)
		responses = append(responses, a)
		return a
	}
	login := func(form url.Values) response {
		a := s.send(s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
		return a
	}
	key := as[openapi.APIKeyWithSecret](t, s.call("POST", "/v1/admin/tenants/"+c.id.String()+"/api-keys", s.operator(), map[string]any{"name": "k"}), 201)
	issued := as[openapi.Token](t, login(url.Values{"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {key.ClientSecret}}), 200)
	const wrong, env, password, file = "wrong-secret-hunter2", "env-secret-hunter2", "registry-secret-hunter2", "file-secret-hunter2"
	responses = append(responses, login(url.Values{"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {wrong}}))
	raw := idToken(t, p, oidcprovider.Client, oidcprovider.Owner)
	responses = append(responses, s.exchange(raw, "tenant:"+c.id.String()))
	join := as[openapi.JoinToken](t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{}), 201)
	pod := c.body("web")
	container := map[string]any{"name": "main", "image": c.image.Reference, "env": []any{map[string]any{"name": "A", "value": env}}, "files": []any{map[string]any{"path": "/a", "content": file}}}
	pod["spec"].(map[string]any)["containers"] = []any{container}
	s.call("POST", "/v1/pods", issued.AccessToken, pod)
	container["color"] = "blue"
	call("POST", "/v1/pods", issued.AccessToken, pod)
	call("POST", "/v1/images", issued.AccessToken, map[string]any{"reference": "127.0.0.1:1/web:1", "registryAuth": map[string]any{"username": "me", "password": password}})
	call("POST", "/v1/images", issued.AccessToken, `{"reference": "x:1", "registryAuth": {"username": "me", "password": "`+password+`"`)
	call("GET", "/v1/pods", issued.AccessToken+"x", nil)
	call("GET", "/v1/pods?token="+url.QueryEscape(issued.AccessToken), "", nil)
	s.call("POST", "/v1/agent/register", "", map[string]any{"token": join.Token, "name": "metal", "certificateRequest": "none"})

	// The same applies to internal errors.
	db, err := pgx.Connect(t.Context(), s.database(store.RoleOwner))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if _, err := db.Exec(t.Context(), "ALTER TABLE events RENAME TO renamed_events"); err != nil {
		t.Fatal(err)
	}
	delete(container, "color")
	pod["name"] = "web-2"
	if a := call("POST", "/v1/pods", issued.AccessToken, pod); a.status != 500 {
		t.Errorf("a broken database gets the response %d %s", a.status, a.body)
	}
	if !strings.Contains(log.String(), "request failed") || !strings.Contains(log.String(), "operation=CreatePod") {
		t.Fatalf("the log does not contain the errors: %s", log.String())
	}
	for name, secret := range map[string]string{
		"client secret": key.ClientSecret, "wrong secret": wrong, "token": issued.AccessToken, "signature": issued.AccessToken[strings.LastIndex(issued.AccessToken, ".")+1:],
		"environment": env, "file": file, "registry password": password, "ID token": raw, "join token": join.Token, "operator's secret": "a secret of the operator",
	} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the %s is in the log", name)
		}
		for _, a := range responses {
			if a.status >= 400 && strings.Contains(a.body, secret) {
				t.Errorf("the %s is in a problem: %s", name, a.body)
			}
		}
	}
}

func TestSecretsAreSealedInTheDatabase(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	const password = "registry-secret-hunter2"
	auth := &store.RegistryAuth{Username: "me", Password: password}
	_, err := s.db.Tenant(c.owner).CreateImage(t.Context(), store.NewIdempotency("", "t", "", nil), "registry.example.com/x:1", "sha256:1", husk.ImageConfig{}, auth)
	if err != nil {
		t.Fatal(err)
	}
	key := as[openapi.APIKeyWithSecret](t, s.call("POST", "/v1/admin/tenants/"+c.id.String()+"/api-keys", s.operator(), map[string]any{"name": "k"}, "Idempotency-Key", "k"), 201)
	join := as[openapi.JoinToken](t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{}, "Idempotency-Key", "j"), 201)
	pod := s.createPod(c)
	node, _ := s.node()
	s.place(node, c, pod.ID)
	db, err := pgx.Connect(t.Context(), s.database(store.RoleControl))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	tables, err := db.Query(t.Context(), "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'schema_version' AND has_table_privilege(format('%I.%I', table_schema, table_name), 'SELECT')")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(tables, pgx.RowTo[string])
	if err != nil || len(names) < 20 {
		t.Fatalf("the tables are %v: %v", names, err)
	}
	secret, _, _ := strings.Cut(join.Token, ".")
	for _, table := range names {
		for name, text := range map[string]string{"registry password": password, "client secret": key.ClientSecret, "join token": secret, "ceph key": "cephx-secret"} {
			var n int
			// Search for the secret as text, as bytes in hexadecimal, and in base64.
			err := db.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" x WHERE x::text LIKE '%' || $1 || '%' OR x::text LIKE '%' || encode($1::bytea, 'hex') || '%' OR x::text LIKE '%' || left(encode($1::bytea, 'base64'), 20) || '%'", text).Scan(&n)
			if err != nil || n != 0 {
				t.Errorf("%s has the %s in %d rows: %v", table, name, n, err)
			}
		}
	}
}
