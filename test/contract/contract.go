// SPDX-License-Identifier: Apache-2.0

// Package contract checks the server's responses against openapi.yaml, in the server's own tests and in the end-to-end tests.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"husk/openapi"
)

// Transport reports every response that violates the contract: a wrong status, content type or body, a missing header, or a problem code
// that the operation does not list. It does not read streams.
type Transport struct {
	Next   http.RoundTripper
	Report func(format string, args ...any)

	spec   *openapi3.T
	router routers.Router
}

// New returns a Transport that checks responses against the contract.
func New(next http.RoundTripper, report func(format string, args ...any)) (*Transport, error) {
	spec, err := openapi.GetSpec()
	if err != nil {
		return nil, err
	}
	spec.Servers = nil // accept any server address
	router, err := gorillamux.NewRouter(spec)
	return &Transport{next, report, spec, router}, err
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil // a WebSocket, which the contract does not describe further
	}
	if r.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified {
		return resp, nil // responses without a body, to operations that the contract describes as GET
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil && resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusFound {
		t.Report("the response to %s %s has the invalid content type %q", r.Method, r.URL.Path, resp.Header.Get("Content-Type"))
	}
	if media != "application/json" && media != "application/problem+json" {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err := t.check(r, resp, media, body); err != nil {
		t.Report("the response to %s %s, %s %s, violates the contract: %v", r.Method, r.URL.Path, resp.Status, body, err)
	}
	return resp, nil
}

func (t *Transport) check(r *http.Request, resp *http.Response, media string, body []byte) error {
	if media == "application/problem+json" {
		var p openapi.Problem
		if err := json.Unmarshal(body, &p); err != nil {
			return err
		}
		if p.Status != resp.StatusCode || p.Code == "" || p.RequestID == nil || resp.Header.Get("X-Request-Id") != *p.RequestID || p.Title == "" {
			return fmt.Errorf("the problem does not match the response's status or X-Request-Id, or lacks a code or title: %+v", p)
		}
		if err := t.Listed(r, p.Code); err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		return t.spec.Components.Schemas["Problem"].Value.VisitJSON(v)
	}
	route, params, err := t.router.FindRoute(r)
	if err != nil {
		return err
	}
	if tag := declares(route.Operation, resp.StatusCode, "ETag"); tag && resp.Header.Get("ETag") == "" {
		return fmt.Errorf("%s has no ETag", route.Operation.OperationID)
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

func declares(op *openapi3.Operation, status int, header string) bool {
	r := op.Responses.Status(status)
	return r != nil && r.Value.Headers[header] != nil
}

// Listed reports whether the contract lists this problem code for this request's operation.
func (t *Transport) Listed(r *http.Request, code string) error {
	allowed := texts(t.spec.Extensions["x-common-problem-codes"])
	operation := "an unknown path"
	if route, _, err := t.router.FindRoute(r); err != nil {
		allowed = append(allowed, "not_found")
	} else {
		operation = route.Operation.OperationID
		allowed = append(allowed, texts(route.Operation.Extensions["x-problem-codes"])...)
	}
	if slices.Contains(allowed, code) {
		return nil
	}
	return fmt.Errorf("%s responds with the code %s; the contract lists only %s", operation, code, strings.Join(allowed, ", "))
}

func texts(list any) []string {
	items, ok := list.([]any)
	if !ok {
		return nil
	}
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = fmt.Sprint(item)
	}
	return all
}
