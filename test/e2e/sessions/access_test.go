// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/session"
	"husk/test/pace"
	"husk/test/stack"
)

// checkAuthorization opens sessions in three ways: without the required role, from a browser, and
// with a key that is then revoked.
func checkAuthorization(t *testing.T, tn *stack.Tenant, pod uuid.UUID) {
	refused := func(token, path string, status int, code string, header ...string) {
		t.Helper()
		conn, answer, err := tn.Dial(t, token, path, header...)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s was opened", path)
			return
		}
		if answer == nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		var p openapi.Problem
		if e := json.Unmarshal(answer.Body, &p); e != nil || answer.Status != status || p.Code != code {
			t.Errorf("%s: %d %+v %v; want %d %s", path, answer.Status, p, e, status, code)
		}
	}
	at := "/v1/pods/" + pod.String()
	exec := at + "/exec?container=main&command=true"
	_, viewer := tn.KeyOf(t, openapi.Viewer, openapi.APIKeyCreate{Name: "k"})
	viewerToken := tn.Token(t, viewer)
	for _, path := range []string{exec, at + "/attach?container=main", at + "/port-forward?port=80", at + "/copy-out?container=main&path=/etc", at + "/copy-in?container=main&path=/etc"} {
		refused(viewerToken, path, http.StatusForbidden, "forbidden")
		refused("", path, http.StatusUnauthorized, "unauthenticated")
	}
	if _, _, err := tn.Dial(t, viewerToken, at+"/console"); err != nil {
		t.Errorf("a viewer cannot read the console: %v", err)
	}
	stranger := stack.NewTenant(t)
	other := stranger.Token(t, stranger.Key)
	refused(other, exec, http.StatusNotFound, "not_found")
	refused(other, strings.Replace(exec, pod.String(), uuid.NewString(), 1), http.StatusNotFound, "not_found")

	// A browser sends its token as a subprotocol, and the origin of its page.
	owner := tn.Token(t, tn.Key)
	bearer := []string{"Sec-WebSocket-Protocol", session.Protocol + ", " + session.BearerPrefix + owner}
	browser := func(path, origin string) (*browserConn, int, error) {
		return dialBrowser(t, tn, path, origin, bearer[1])
	}
	page, _, err := browser(exec, tn.Env["HUSK_API"])
	if err != nil {
		t.Fatalf("a browser's WebSocket: %v", err)
	}
	if f := page.last(); f.Kind != session.Exit {
		t.Errorf("a browser's exec session ends with %d %s", f.Kind, f.Payload)
	}
	if page, _, err = browser(at+"/exec?container=main&command=no-such-command", tn.Env["HUSK_API"]); err != nil {
		t.Fatalf("a browser's WebSocket: %v", err)
	}
	if f := page.last(); f.Kind != session.Problem || !strings.Contains(string(f.Payload), "command_not_found") {
		t.Errorf("a browser receives %d %s", f.Kind, f.Payload)
	}
	if _, status, err := browser(exec, "https://evil.example.com"); err == nil || status != http.StatusForbidden {
		t.Errorf("a page of another site: %d %v", status, err)
	}

	// Revoking a key also ends its open sessions.
	account, developer := tn.KeyOf(t, openapi.Developer, openapi.APIKeyCreate{Name: "k"})
	conn, _, err := tn.Dial(t, tn.Token(t, developer), at+"/exec?container=main&command=sleep&command=1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := tn.API.ServiceAccounts.DeleteKey(t.Context(), account.ID, developer.ClientID); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	began := time.Now()
	f, err := conn.Receive()
	if err != nil || f.Kind != session.Problem || !strings.Contains(string(f.Payload), "unauthenticated") || time.Since(began) > pace.Limit(20*time.Second) {
		t.Errorf("after %s the session of a revoked key receives %d %s %v", time.Since(began), f.Kind, f.Payload, err)
	}
}
