package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"golang.org/x/oauth2"

	"husk/openapi"
)

// The exit codes; husk --help explains them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnavailable = 5
	exitInterrupted = 130
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// problemError is an RFC 9457 problem that the API answered with.
type problemError struct{ openapi.Problem }

func (e problemError) Error() string {
	detail := e.Title
	if e.Detail != nil && *e.Detail != "" {
		detail = *e.Detail
	}
	code := e.Code
	if e.Field != nil && *e.Field != "" {
		code += ", field " + *e.Field
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != nil {
		code += ", request " + *e.RequestID
	}
	return fmt.Sprintf("%s (%s)", detail, code)
}

// noSuch is what the API would answer for a name that it does not know.
func noSuch(kind, name string) error {
	detail := fmt.Sprintf("there is no %s %q", kind, name)
	return problemError{openapi.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: &detail}}
}

// isNotFound tells whether the object does not exist.
func isNotFound(err error) bool {
	p, ok := errors.AsType[problemError](err)
	return ok && p.Code == "not_found"
}

// exitCode is the number by which a script knows what happened.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return exitRefused
	}
	if _, ok := errors.AsType[unreachableError](err); ok {
		return exitUnavailable
	}
	if p, ok := errors.AsType[problemError](err); ok {
		switch {
		case p.Code == "not_found" || p.Code == "image_not_found":
			return exitNotFound
		case p.Status >= http.StatusInternalServerError:
			return exitUnavailable
		default:
			return exitRefused
		}
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return exitFailure
}

// unreachableError is a call that got no answer.
type unreachableError struct{ err error }

func (e unreachableError) Error() string { return e.err.Error() }
func (e unreachableError) Unwrap() error { return e.err }

// maxAnswer bounds what is read of one answer.
const maxAnswer = 64 << 20

// answer decodes what the API said: the object, or the problem as an error.
func answer[T any](resp *http.Response, err error) (T, error) {
	var v T
	if err := checked(resp, err); err != nil {
		return v, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return v, unreachableError{fmt.Errorf("the API's answer broke off: %w", err)}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("the API's answer to %s %s is not what the contract says: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	return v, nil
}

// checked turns everything that is not a good answer into an error, and closes it.
func checked(resp *http.Response, err error) error {
	if err != nil {
		return callError(err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return unreachableError{fmt.Errorf("the API's answer broke off: %w", err)}
	}
	var p openapi.Problem
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) //nolint:errcheck // an unreadable type is no problem document
	if kind == "application/problem+json" && json.Unmarshal(raw, &p) == nil && p.Code != "" {
		return problemError{p}
	}
	return unreachableError{fmt.Errorf("%s %s answers %s, which is not how Husk answers; is HUSK_API right?",
		resp.Request.Method, resp.Request.URL, resp.Status)}
}

// callError explains a call that got no answer.
func callError(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if refused.ErrorCode == "" {
			return unreachableError{fmt.Errorf("no token: %s", refused.Response.Status)}
		}
		return fmt.Errorf("no token: %s (%s); look at HUSK_CLIENT_ID and HUSK_CLIENT_SECRET%w", refused.ErrorDescription, refused.ErrorCode, quiet{err})
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return unreachableError{err}
}

// quiet keeps an error for errors.As and shows nothing of it: oauth2 prints the whole answer.
type quiet struct{ error }

func (quiet) Error() string   { return "" }
func (q quiet) Unwrap() error { return q.error }
