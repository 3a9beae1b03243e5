// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Code is the stable, machine-readable kind of an error. Clients make decisions by it, so a code never changes its meaning.
type Code string

// The problem codes of the API.
const (
	CodeInvalid              Code = "invalid"                // a value is out of range or malformed
	CodeUnknownField         Code = "unknown_field"          // the body has a field that does not exist
	CodeReadOnlyField        Code = "read_only_field"        // the body has a field that only Husk sets
	CodeTooLarge             Code = "too_large"              // the body is larger than the limit
	CodeUnsupportedEncoding  Code = "unsupported_encoding"   // the body is compressed
	CodeUnauthenticated      Code = "unauthenticated"        // no token, or one that does not verify
	CodeForbidden            Code = "forbidden"              // the token's kind, role or key is not authorized for this
	CodeRateLimited          Code = "rate_limited"           // too many requests; Retry-After says when to retry
	CodeConcurrencyLimit     Code = "concurrency_limit"      // the tenant has too many requests or streams open at the same time; retry when some have ended
	CodeNotFound             Code = "not_found"              // no such object; an object of another tenant gets the same response
	CodeMethodNotAllowed     Code = "method_not_allowed"     // the path exists, the method does not
	CodeNameTaken            Code = "name_taken"             // another object of the tenant has this name
	CodeQuotaExceeded        Code = "quota_exceeded"         // the tenant's quota would be exceeded
	CodeVolumeInUse          Code = "volume_in_use"          // a pod has claimed the volume
	CodeSnapshotInUse        Code = "snapshot_in_use"        // a volume shares the snapshot's data
	CodeImageInUse           Code = "image_in_use"           // a pod uses the image
	CodeImageNotFound        Code = "image_not_found"        // the registry, or the tenant, has no such image
	CodeImageUnsupported     Code = "image_unsupported"      // the image cannot run here
	CodeRegistryUnauthorized Code = "registry_unauthorized"  // the registry refused the credentials
	CodeRegistryUnreachable  Code = "registry_unreachable"   // the registry did not respond, or only with an error
	CodeIdempotencyMismatch  Code = "idempotency_mismatch"   // the key was used with another request
	CodePreconditionFailed   Code = "precondition_failed"    // the object has changed since the version that If-Match names
	CodeIssuerUnreachable    Code = "issuer_unreachable"     // the OIDC issuer did not respond as an OIDC issuer does
	CodeLastOwner            Code = "last_owner"             // the tenant would have no owner who can log in
	CodeConflict             Code = "conflict"               // the object's current state does not allow this
	CodeUpgradeRequired      Code = "upgrade_required"       // this path speaks WebSocket only
	CodeSessionLimit         Code = "session_limit"          // the pod or the tenant has too many sessions open
	CodeSessionIdle          Code = "session_idle"           // the session was idle for too long
	CodeSessionSlow          Code = "session_slow"           // the session read a container's output too slowly
	CodeCommandNotFound      Code = "command_not_found"      // the container has no such command
	CodeCommandNotExecutable Code = "command_not_executable" // the command, its user or its directory cannot be used
	CodeLogsUnavailable      Code = "logs_unavailable"       // the pod has no node yet, or its node does not respond at the moment
	CodeUnavailable          Code = "unavailable"            // a required part of the platform is down; retry
	CodeInternal             Code = "internal"               // an error inside Husk; the details are in the server's log
)

// Error is an error that a caller of the API may see. Every other error is internal and stays hidden.
type Error struct {
	Code   Code
	Field  string // the offending field as a path, such as spec.volumes[0].volumeId; may be empty
	Detail string // one sentence: what happened, to which object, what to do
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Detail)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Errorf returns an Error with a formatted detail.
func Errorf(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error: CodeInternal for everything that is not an Error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// NotFound returns the error for an object that does not exist and for an object of another tenant. The two must not differ.
func NotFound(kind string) *Error {
	return Errorf(CodeNotFound, "", "there is no such %s", kind)
}

// ItemsError says which items of a batch failed, by their position. All other items succeeded.
type ItemsError map[int]error

// Error implements error.
func (e ItemsError) Error() string { return errors.Join(e.Unwrap()...).Error() }

// Unwrap returns the errors in the order of the items.
func (e ItemsError) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, i := range slices.Sorted(maps.Keys(e)) {
		all = append(all, e[i])
	}
	return all
}

// OrNil returns nil if no item failed.
func (e ItemsError) OrNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
