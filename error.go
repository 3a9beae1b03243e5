package husk

import (
	"errors"
	"fmt"
)

// Code is the stable, machine-readable kind of an error. Clients decide on it, so a code never changes its meaning.
type Code string

// The codes an API call can answer with.
const (
	CodeInvalid              Code = "invalid"                // a value is out of its range or form
	CodeUnknownField         Code = "unknown_field"          // the body has a field that does not exist
	CodeReadOnlyField        Code = "read_only_field"        // the body has a field that only Husk sets
	CodeTooLarge             Code = "too_large"              // the body is above the limit
	CodeUnsupportedEncoding  Code = "unsupported_encoding"   // the body is compressed
	CodeUnauthenticated      Code = "unauthenticated"        // no token, or one that does not verify
	CodeForbidden            Code = "forbidden"              // the token's kind, role or key may not do this
	CodeRateLimited          Code = "rate_limited"           // too many requests; Retry-After says when to go on
	CodeNotFound             Code = "not_found"              // no such object, or one of another tenant: the same
	CodeMethodNotAllowed     Code = "method_not_allowed"     // the path exists, the method does not
	CodeNameTaken            Code = "name_taken"             // another object of the tenant has this name
	CodeQuotaExceeded        Code = "quota_exceeded"         // the tenant's limit is reached
	CodeVolumeInUse          Code = "volume_in_use"          // a pod has claimed the volume
	CodeImageInUse           Code = "image_in_use"           // a pod uses the image
	CodeImageNotFound        Code = "image_not_found"        // the registry, or the tenant, has no such image
	CodeImageUnsupported     Code = "image_unsupported"      // the image cannot run here
	CodeRegistryUnauthorized Code = "registry_unauthorized"  // the registry refused the credentials
	CodeRegistryUnreachable  Code = "registry_unreachable"   // the registry did not answer
	CodeIdempotencyMismatch  Code = "idempotency_mismatch"   // the key was used with another request
	CodePreconditionFailed   Code = "precondition_failed"    // the object is not the one that If-Match names
	CodeIssuerUnreachable    Code = "issuer_unreachable"     // the OIDC issuer did not answer as one
	CodeConflict             Code = "conflict"               // the object's state does not allow this now
	CodeUpgradeRequired      Code = "upgrade_required"       // this path speaks WebSocket only
	CodeSessionLimit         Code = "session_limit"          // the pod or the tenant has too many sessions open
	CodeSessionIdle          Code = "session_idle"           // nothing was said in the session for too long
	CodeSessionSlow          Code = "session_slow"           // the session was too slow in taking a container's output
	CodeCommandNotFound      Code = "command_not_found"      // the container has no such command
	CodeCommandNotExecutable Code = "command_not_executable" // the command, its user or its directory cannot be used
	CodeLogsUnavailable      Code = "logs_unavailable"       // the pod's node cannot be asked now
	CodeUnavailable          Code = "unavailable"            // a part that is needed is down; try again
	CodeInternal             Code = "internal"               // our fault; the detail is in the server's log
)

// Error is an error that may be shown to whoever called the API. Every other error is internal and stays hidden.
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

// Errorf makes an Error with a formatted detail.
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

// NotFound is the answer for an object that does not exist and for one of another tenant. They must not differ.
func NotFound(kind string) *Error {
	return Errorf(CodeNotFound, "", "there is no such %s", kind)
}
