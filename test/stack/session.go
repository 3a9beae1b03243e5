// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/session"
	"husk/session/ws"
	"husk/test/pace"
)

// Token gets an access token over HTTP, without package client.
func (s *Stack) Token(t testing.TB, key openapi.APIKeyWithSecret) string {
	t.Helper()
	resp, err := http.PostForm(s.Env["HUSK_API"]+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {key.ClientSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token openapi.Token
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// Dial opens a WebSocket to the API. The headers are pairs of name and value.
func (s *Stack) Dial(t testing.TB, token, path string, header ...string) (*ws.Conn, *ws.Answer, error) {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, answer, err := ws.Dial(t.Context(), &http.Client{}, s.Env["HUSK_API"]+path, h)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, answer, err
}

// Receive receives until the output contains a text.
func Receive(t testing.TB, conn session.Conn, text string) {
	t.Helper()
	late := time.AfterFunc(pace.Limit(30*time.Second), func() { _ = conn.Close() })
	defer late.Stop()
	received := ""
	for !strings.Contains(received, text) {
		f, err := conn.Receive()
		if err != nil || f.Kind.Final() {
			t.Fatalf("after %q: %v %s; want %q", received, err, f.Payload, text)
		}
		received += string(f.Payload)
	}
}
