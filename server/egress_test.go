// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"husk"
	"husk/egress"
	"husk/openapi"
	"husk/registry"
	"husk/server/control"
)

func TestATenantCannotMakeTheServerConnectToForbiddenAddresses(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for _, reference := range []string{"10.0.0.5:5000/x", "169.254.169.254/x", "[::1]:15000/x"} {
		p := as[openapi.Problem](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": reference}), http.StatusUnprocessableEntity)
		if p.Code != string(husk.CodeInvalid) || openapi.Value(p.Field) != "reference" || !strings.Contains(openapi.Value(p.Detail), "does not connect to") {
			t.Errorf("%s: %+v", reference, p)
		}
	}
}

// The response must not reveal that a name resolves to a forbidden address. Otherwise a tenant
// could map the operator's network by trying names.
func TestAForbiddenNameLooksLikeAnUnknownOne(t *testing.T) {
	t.Parallel()
	failure := func(cause error) error {
		return &registry.ImageError{Kind: registry.ErrUnknownHost, Registry: "db.example.com", Image: "db.example.com/x", Cause: cause}
	}
	inside := failure(&egress.RefusedError{Host: "db.example.com", Addr: netip.MustParseAddr("10.0.0.5"), Why: "a private address"})
	outside := failure(errors.New("no such host"))
	a, _ := errors.AsType[*husk.Error](control.RegistryProblem(inside))
	b, _ := errors.AsType[*husk.Error](control.RegistryProblem(outside))
	if a == nil || b == nil || *a != *b || a.Code != husk.CodeRegistryUnreachable || strings.Contains(a.Detail, "10.0.0.5") {
		t.Errorf("the error for a forbidden address is %v, and for an unknown name %v", a, b)
	}
}
