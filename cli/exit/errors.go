// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"husk/client"
)

// UsageError is a mistake in the command line.
type UsageError struct{ Err error }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// DocumentError is a mistake in a document. It has the exit code of a UsageError, but no help page explains it.
type DocumentError struct{ Err error }

// Error implements error.
func (e DocumentError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e DocumentError) Unwrap() error { return e.Err }

// TimeoutError says that something did not happen in time.
type TimeoutError struct{ Detail string }

// Error implements error.
func (e TimeoutError) Error() string { return e.Detail }

// ConflictError says that an existing object prevents what was requested: it differs, or it is being deleted.
type ConflictError struct{ Detail string }

// Error implements error.
func (e ConflictError) Error() string { return e.Detail }

// Code returns the exit code for an error.
func Code(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*client.ExitError](err); ok {
		return e.Code
	}
	if is[UsageError](err) || is[DocumentError](err) || is[*client.AmbiguousError](err) {
		return Usage
	}
	if is[*client.LoginError](err) {
		return Refused
	}
	if is[*client.UnreachableError](err) {
		return Unavailable
	}
	if is[ConflictError](err) {
		return Conflict
	}
	if is[TimeoutError](err) {
		return Timeout
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		if code, known := ofProblem[e.Code]; known {
			return code
		}
		if e.Status >= http.StatusInternalServerError { // an unknown code, of a server that is newer than this program
			return Unavailable
		}
		return Failure
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	return Failure
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
