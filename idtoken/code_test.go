// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnIssuerThatFailsWhenACodeIsRedeemedIsNotReportedAsSilent(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusTooManyRequests:    "it responds with status 429, because it gets too many requests; retry later",
		http.StatusServiceUnavailable: "it responds with status 503; retry later",
		http.StatusForbidden:          "with PKCE; correct its URL or its configuration",
	} {
		tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(tokens.Close)
		i := startIssuer(t, newSigner(t, "1", "EdDSA"))
		i.change(func() {
			i.document = `{"issuer":"` + i.url + `","jwks_uri":"` + i.url + `/keys","token_endpoint":"` + tokens.URL + `"}`
		})
		_, err := New(Config{Egress: local}).Redeem(t.Context(), i.url, Code{ClientID: "husk", Code: "code"})
		got, ok := errors.AsType[*IssuerError](err)
		if !ok || !strings.Contains(got.Detail(), want) {
			t.Errorf("status %d: %v, want %q", status, err, want)
		}
	}
}
