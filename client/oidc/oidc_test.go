// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"husk/client/oidc"
	"husk/test/oidcprovider"
)

func TestLoginIsRenewedUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	p := oidcprovider.Start(t)
	issuer, err := oidc.Discover(t.Context(), http.DefaultClient, p.Issuer, oidcprovider.Client)
	if err != nil {
		t.Fatal(err)
	}
	first, err := issuer.DeviceLogin(t.Context(), func(prompt oidc.Prompt) {
		if prompt.Complete == "" || prompt.Expires.IsZero() {
			t.Errorf("the prompt is %+v", prompt)
		}
		if err := oidcprovider.ApproveDevice(t.Context(), prompt.URL, prompt.Code, oidcprovider.Developer); err != nil {
			t.Error(err)
		}
	})
	if err != nil || first.ID == "" || first.Refresh == "" {
		t.Fatalf("%v, tokens %t and %t", err, first.ID != "", first.Refresh != "")
	}
	second, err := issuer.Renew(t.Context(), first.Refresh)
	if err != nil || second.ID == "" || second.Refresh == first.Refresh {
		t.Fatalf("renewed: %v", err)
	}
	refused := func(what, token string) {
		t.Helper()
		_, err := issuer.Renew(t.Context(), token)
		if r, ok := errors.AsType[*oidc.RefusedError](err); !ok || r.Code != "invalid_grant" || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("used twice", first.Refresh)
	if err := issuer.Revoke(t.Context(), second.Refresh); err != nil {
		t.Fatal(err)
	}
	refused("revoked", second.Refresh)
}

func TestIssuerMustBeValidAndPrivate(t *testing.T) {
	t.Parallel()
	response := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, response) }))
	t.Cleanup(s.Close)
	for _, c := range []struct{ issuer, response, want string }{
		{"http://login.example.com", "", "a login needs https"},
		{"login.example.com", "", "expected a URL"},
		{s.URL, "<html>", "is not an OIDC issuer"},
		{s.URL, `{"issuer":"https://other.example.com","token_endpoint":"https://other.example.com/t"}`, `gives its URL as "https://other.example.com"`},
		{s.URL, fmt.Sprintf(`{"issuer":%q,"token_endpoint":"http://192.0.2.1/t"}`, s.URL), "a login needs https"},
		{s.URL, fmt.Sprintf(`{"issuer":%q}`, s.URL), "has no token endpoint"},
	} {
		response = c.response
		if _, err := oidc.Discover(t.Context(), http.DefaultClient, c.issuer, "husk"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.response, err, c.want)
		}
	}
	response = fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, s.URL, s.URL+"/t")
	issuer, err := oidc.Discover(t.Context(), http.DefaultClient, s.URL, "husk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.DeviceLogin(t.Context(), func(oidc.Prompt) {}); err == nil || !strings.Contains(err.Error(), "use an API key") {
		t.Errorf("without a device endpoint: %v", err)
	}
}
