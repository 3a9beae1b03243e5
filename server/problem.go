// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"husk"
	"husk/openapi"
	"husk/server/auth"
	"husk/server/request"
)

// statusOf maps every code to its HTTP status. Nothing else does.
var statusOf = map[husk.Code]int{
	husk.CodeInvalid:              http.StatusUnprocessableEntity,
	husk.CodeUnknownField:         http.StatusUnprocessableEntity,
	husk.CodeReadOnlyField:        http.StatusUnprocessableEntity,
	husk.CodeTooLarge:             http.StatusRequestEntityTooLarge,
	husk.CodeUnsupportedEncoding:  http.StatusUnsupportedMediaType,
	husk.CodeUnauthenticated:      http.StatusUnauthorized,
	husk.CodeForbidden:            http.StatusForbidden,
	husk.CodeRateLimited:          http.StatusTooManyRequests,
	husk.CodeConcurrencyLimit:     http.StatusTooManyRequests,
	husk.CodeNotFound:             http.StatusNotFound,
	husk.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	husk.CodeNameTaken:            http.StatusConflict,
	husk.CodeQuotaExceeded:        http.StatusForbidden,
	husk.CodeVolumeInUse:          http.StatusConflict,
	husk.CodeImageInUse:           http.StatusConflict,
	husk.CodeLastOwner:            http.StatusConflict,
	husk.CodeSnapshotInUse:        http.StatusConflict,
	husk.CodeImageNotFound:        http.StatusUnprocessableEntity,
	husk.CodeImageUnsupported:     http.StatusUnprocessableEntity,
	husk.CodeRegistryUnauthorized: http.StatusUnprocessableEntity,
	husk.CodeRegistryUnreachable:  http.StatusBadGateway,
	husk.CodeIdempotencyMismatch:  http.StatusUnprocessableEntity,
	husk.CodePreconditionFailed:   http.StatusPreconditionFailed,
	husk.CodeIssuerUnreachable:    http.StatusBadGateway,
	husk.CodeConflict:             http.StatusConflict,
	husk.CodeUpgradeRequired:      http.StatusUpgradeRequired,
	husk.CodeSessionLimit:         http.StatusTooManyRequests,
	husk.CodeSessionIdle:          http.StatusRequestTimeout,
	husk.CodeSessionSlow:          http.StatusRequestTimeout,
	husk.CodeCommandNotFound:      http.StatusUnprocessableEntity,
	husk.CodeCommandNotExecutable: http.StatusUnprocessableEntity,
	husk.CodeLogsUnavailable:      http.StatusServiceUnavailable,
	husk.CodeUnavailable:          http.StatusServiceUnavailable,
	husk.CodeInternal:             http.StatusInternalServerError,
}

var errNoRoute = husk.Errorf(husk.CodeNotFound, "", "there is no such path")

// isCallersFault reports whether a code is known and means that the request is wrong, not the platform.
func isCallersFault(code husk.Code) bool {
	status, known := statusOf[code]
	return known && status < http.StatusInternalServerError
}

// problems writes errors as responses.
type problems struct{ log *slog.Logger }

// write responds with an RFC 9457 problem. The caller sees what is in a *husk.Error. Every other error is internal: it goes to the log with the request's id,
// and the caller sees only that id.
func (p problems) write(w http.ResponseWriter, r *http.Request, err error) {
	req := request.Of(r.Context())
	shown, ok := errors.AsType[*husk.Error](err)
	if !ok && errors.Is(err, context.DeadlineExceeded) && errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		shown, ok = husk.Errorf(husk.CodeUnavailable, "", "the request took longer than %s; retry", requestTimeout), true
	}
	if !ok {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return // the client has disconnected
		}
		shown = husk.Errorf(husk.CodeInternal, "", "an internal error; the server's log has the details under this request id")
	}
	status := statusOf[shown.Code]
	if req.Operation == "IssueToken" && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		p.refuseGrant(w, req, shown)
		return
	}
	if bare, _ := err.(*husk.Error); status >= http.StatusInternalServerError && bare == nil { //nolint:errorlint // an error without a cause has no details to log
		p.log.Error("request failed", "request_id", req.ID, "operation", req.Operation, "tenant", req.Caller.TenantID, "error", err)
	}
	problem := openapi.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(shown.Code)}
	if shown.Detail != "" {
		problem.Detail = &shown.Detail
	}
	if shown.Field != "" {
		problem.Field = &shown.Field
	}
	if req.ID != "" {
		problem.RequestID = &req.ID
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="husk"`)
	case http.StatusTooManyRequests:
		if limited, ok := errors.AsType[*auth.RateLimitedError](err); ok {
			h.Set("Retry-After", strconv.Itoa(limited.RetryAfter()))
		} else if shown.Code == husk.CodeConcurrencyLimit {
			h.Set("Retry-After", "1")
		}
	case http.StatusUpgradeRequired:
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(problem); err != nil {
		p.log.Debug("could not send a problem", "request_id", req.ID, "error", err)
	}
}

// refuseGrant responds with an error of RFC 6749 (5.2), because that is what client libraries read at the token endpoint.
func (p problems) refuseGrant(w http.ResponseWriter, req *request.Request, err *husk.Error) {
	text := err.Detail
	if err.Field != "" {
		text = err.Field + ": " + text
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	if err := json.NewEncoder(w).Encode(openapi.OAuthError{Error: openapi.InvalidRequest, ErrorDescription: &text}); err != nil {
		p.log.Debug("could not send an error of the token endpoint", "request_id", req.ID, "error", err)
	}
}
