package idtoken

import (
	"errors"
	"fmt"
	"strings"

	"husk/egress"
)

// RefusedError says that a token is not good: whoever sent it needs another one.
type RefusedError struct {
	Reason string // may be told to whoever sent the token; quotes nothing of it
	Err    error  // the details, for the log; may be nil
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("ID token refused: %s: %v", e.Reason, e.Err)
	}
	return "ID token refused: " + e.Reason
}

// Unwrap implements errors' interface.
func (e *RefusedError) Unwrap() error { return e.Err }

func refuse(reason string, err error) error { return &RefusedError{Reason: reason, Err: err} }

// IssuerError says that an issuer's keys could not be had, so that nothing can be said of a token.
type IssuerError struct {
	Issuer string
	Reason string // may be told to whoever configured the issuer; names no address that they did not
	// Misconfigured tells an issuer that has to be configured otherwise, or has to change, from one that may answer the next time.
	Misconfigured bool
	Err           error // the details, for the log; may be nil
}

// Error implements error.
func (e *IssuerError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("issuer %s: %s: %v", e.Issuer, e.Reason, e.Err)
	}
	return fmt.Sprintf("issuer %s: %s", e.Issuer, e.Reason)
}

// Unwrap implements errors' interface.
func (e *IssuerError) Unwrap() error { return e.Err }

func misconfigured(issuer, reason string, err error) error {
	return &IssuerError{Issuer: issuer, Reason: reason, Misconfigured: true, Err: err}
}

// unreachable says why an issuer was not reached. A name that leads to a forbidden address is answered as one that leads nowhere: who
// configures issuers must not learn what the server's DNS answers.
func unreachable(issuer string, err error) error {
	if refused, ok := errors.AsType[*egress.RefusedError](err); ok && refused.Obvious() {
		return misconfigured(issuer, "it is at an address that this platform does not connect to, or leads to one", err)
	}
	reason := "it does not answer, or its name leads to an address that this platform does not connect to"
	if strings.HasPrefix(issuer, "http:") {
		reason = "it does not answer, or may not be spoken to without TLS; use an issuer with https"
	}
	return &IssuerError{Issuer: issuer, Reason: reason, Err: err}
}
