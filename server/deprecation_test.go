// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"husk/openapi"
)

// deprecated returns a contract in which listVolumes is deprecated with these dates.
func deprecated(t *testing.T, extensions map[string]any) *openapi3.T {
	t.Helper()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	op := spec.Paths.Value("/v1/volumes").Get
	op.Deprecated, op.Extensions = true, extensions
	return spec
}

func TestADeprecatedOperationSaysSoInItsHeaders(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	found, err := deprecationsOf(deprecated(t, map[string]any{"x-deprecated-at": "2026-01-01", "x-sunset": "2026-09-01"}))
	if err != nil {
		t.Fatal(err)
	}
	s.contract.deprecations = found
	for what, token := range map[string]string{"a response": c.token, "a refusal": "garbage"} {
		h := s.call("GET", "/v1/volumes", token, nil).header
		if h.Get("Deprecation") != "@1767225600" || h.Get("Sunset") != "Tue, 01 Sep 2026 00:00:00 GMT" {
			t.Errorf("%s has the headers Deprecation: %q and Sunset: %q", what, h.Get("Deprecation"), h.Get("Sunset"))
		}
	}
	if h := s.call("GET", "/v1/pods", c.token, nil).header; h.Get("Deprecation") != "" || h.Get("Sunset") != "" {
		t.Errorf("an operation that is not deprecated has the headers %v", h)
	}
}

func TestADeprecationWithTooLittleTimeIsRefused(t *testing.T) {
	t.Parallel()
	for want, extensions := range map[string]map[string]any{
		`its x-deprecated-at is ""`:       {"x-sunset": "2026-09-01"},
		`its x-sunset is "next year"`:     {"x-deprecated-at": "2026-01-01", "x-sunset": "next year"},
		"must stay for at least 180 days": {"x-deprecated-at": "2026-01-01", "x-sunset": "2026-06-01"},
	} {
		if _, err := deprecationsOf(deprecated(t, extensions)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
