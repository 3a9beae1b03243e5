package main

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

// usageError is a mistake in the command line or in a document.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// documentError is a mistake in a document: as a usageError, but no help page explains it.
type documentError struct{ err error }

func (e documentError) Error() string { return e.err.Error() }
func (e documentError) Unwrap() error { return e.err }

// loginError is the lack of a login that works.
type loginError struct{ text string }

func (e loginError) Error() string { return e.text }

// timeoutError is what has not happened in time.
type timeoutError struct{ text string }

func (e timeoutError) Error() string { return e.text }

// conflictError is an object that is there and is not as it must be.
type conflictError struct{ text string }

func (e conflictError) Error() string { return e.text }

// containerError passes the exit code of a container on. It says nothing: the container has.
type containerError struct{ code int }

func (e containerError) Error() string {
	return fmt.Sprintf("the container ended with exit code %d", e.code)
}

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
	return problemError{openapi.Problem{Status: http.StatusNotFound, Code: string(husk.CodeNotFound), Detail: &detail}}
}

// hasCode tells whether the API answered with this problem.
func hasCode(err error, code husk.Code) bool {
	p, ok := errors.AsType[problemError](err)
	return ok && p.Code == string(code)
}

// isNotFound tells whether the object does not exist.
func isNotFound(err error) bool { return hasCode(err, husk.CodeNotFound) }

// exitCode is the number by which a script knows what happened.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[containerError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[documentError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[loginError](err); ok {
		return exitRefused
	}
	if _, ok := errors.AsType[unreachableError](err); ok {
		return exitUnavailable
	}
	if _, ok := errors.AsType[conflictError](err); ok {
		return exitConflict
	}
	if _, ok := errors.AsType[timeoutError](err); ok {
		return exitTimeout
	}
	if p, ok := errors.AsType[problemError](err); ok {
		if code, known := exitOfProblem[husk.Code(p.Code)]; known {
			return code
		}
		if p.Status >= http.StatusInternalServerError { // of a server that is newer than this program
			return exitUnavailable
		}
		return exitFailure
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
	v, _, err := answered[T](resp, err)
	return v, err
}

// answered is an answer with its ETag.
func answered[T any](resp *http.Response, err error) (v T, etag string, _ error) {
	if err := checked(resp, err); err != nil {
		return v, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return v, "", unreachableError{fmt.Errorf("the API's answer broke off: %w", err)}
	}
	if resp.StatusCode == http.StatusNoContent {
		return v, "", nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, "", fmt.Errorf("the API's answer to %s %s is not what the contract says: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	return v, resp.Header.Get("ETag"), nil
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
	return unreachableError{fmt.Errorf("%s %s answers %s, which is not how Husk answers; is the URL right?",
		resp.Request.Method, resp.Request.URL.Redacted(), resp.Status)}
}

// callError explains a call that got no answer. What the way to the API says itself, it says without the request around it.
func callError(err error) error {
	if e, ok := errors.AsType[loginError](err); ok {
		return e
	}
	if e, ok := errors.AsType[usageError](err); ok {
		return e
	}
	if e, ok := errors.AsType[problemError](err); ok {
		return e
	}
	if e, ok := errors.AsType[unreachableError](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return unreachableError{err}
}
