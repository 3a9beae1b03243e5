// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"husk"
	"husk/openapi"
)

// Error is a problem (RFC 9457) that the API responded with.
type Error struct {
	Status    int       // the HTTP status; 0 if the problem came at the end of a session
	Code      husk.Code // stable; programs should check this
	Title     string
	Detail    string // one sentence: what happened, to which object, what to do
	Field     string // the offending field as a path, such as spec.resources.memoryMiB; may be empty
	RequestID string // is also in the server's log; may be empty
}

// Error implements error.
func (e *Error) Error() string {
	detail := e.Detail
	if detail == "" {
		detail = e.Title
	}
	code := string(e.Code)
	if e.Field != "" {
		code += ", field " + e.Field
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" {
		code += ", request " + e.RequestID
	}
	return fmt.Sprintf("%s (%s)", detail, code)
}

// HasCode reports whether the API responded with this problem code.
func HasCode(err error, code husk.Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

// IsNotFound reports whether the API responded that the object does not exist.
func IsNotFound(err error) bool { return HasCode(err, husk.CodeNotFound) }

// NotFound returns the error for an object that does not exist, as the API would return it.
func NotFound(kind, name string) error {
	return &Error{Status: http.StatusNotFound, Code: husk.CodeNotFound, Detail: fmt.Sprintf("there is no %s %q", kind, name)}
}

// LoginError says that there is no valid login: there are no credentials, or they were refused, or they have expired.
type LoginError struct {
	Code   string // of OAuth 2.0, such as invalid_client; empty if nobody refused anything
	Detail string
}

// Error implements error.
func (e *LoginError) Error() string { return e.Detail }

// UnreachableError says that a call got no response, or a response that does not come from Husk.
type UnreachableError struct{ Err error }

// Error implements error.
func (e *UnreachableError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *UnreachableError) Unwrap() error { return e.Err }

// IsUnreachable reports whether a call got no response, or a response that does not come from Husk.
func IsUnreachable(err error) bool {
	_, ok := errors.AsType[*UnreachableError](err)
	return ok
}

// ExitError says that a command in a pod ended with an exit code other than 0.
type ExitError struct {
	Code   int // 128+n if signal n killed it
	Signal int // the signal, if one killed it
}

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("the command ended with exit code %d", e.Code) }

// temporary reports whether the same call may succeed soon.
func temporary(err error) bool {
	e, refused := errors.AsType[*Error](err)
	return IsUnreachable(err) || refused && e.Status >= http.StatusInternalServerError
}

// maxAnswer is how many bytes of one response are read at most.
const maxAnswer = 64 << 20

// Decode reads a response of the generated client: the object, or an error. It closes the response.
//
//	quota, err := client.Decode[openapi.QuotaUse](c.API().GetQuota(ctx))
func Decode[T any](resp *http.Response, err error) (T, error) {
	v, _, err := decode[T](resp, err)
	return v, err
}

// DecodeTagged is [Decode] that also returns the ETag, for [IfMatch].
func DecodeTagged[T any](resp *http.Response, err error) (T, string, error) {
	return decode[T](resp, err)
}

// decode is [Decode] that also returns the ETag.
func decode[T any](resp *http.Response, err error) (v T, etag string, _ error) {
	if err := Check(resp, err); err != nil {
		return v, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return v, "", &UnreachableError{fmt.Errorf("the API's response was cut off: %w", err)}
	}
	if resp.StatusCode == http.StatusNoContent {
		return v, "", nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, "", fmt.Errorf("the API's response to %s %s does not match the contract: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	return v, resp.Header.Get("ETag"), nil
}

// Check returns an error of this package if the response of the generated client is not a success, and then also closes the response. Use
// it for responses whose bodies are not JSON.
func Check(resp *http.Response, err error) error {
	if err != nil {
		return callError(err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &UnreachableError{fmt.Errorf("the API's response was cut off: %w", err)}
	}
	var p openapi.Problem
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) //nolint:errcheck // an unreadable type is no problem document
	if kind == "application/problem+json" && json.Unmarshal(raw, &p) == nil && p.Code != "" {
		return &Error{
			Status: p.Status, Code: husk.Code(p.Code), Title: p.Title, Detail: openapi.Value(p.Detail), Field: openapi.Value(p.Field), RequestID: openapi.Value(p.RequestID),
		}
	}
	return &UnreachableError{fmt.Errorf("%s %s responds with %s, which is not a response of Husk; is the URL right?",
		resp.Request.Method, resp.Request.URL.Redacted(), resp.Status)}
}

// callError returns the error for a call that got no response. It unwraps errors of this package, which net/http has wrapped.
func callError(err error) error {
	if e, ok := errors.AsType[*LoginError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*UnreachableError](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &UnreachableError{err}
}

// done returns the error of a response whose body does not matter.
func done(resp *http.Response, err error) error {
	_, err = Decode[json.RawMessage](resp, err)
	return err
}
