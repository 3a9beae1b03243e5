// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"husk/egress"
)

// RefusedError means that a token is not valid: its sender needs another one.
type RefusedError struct {
	Reason string // may be shown to the sender of the token; quotes nothing from it
	Err    error  // the details, for the log; may be nil
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("ID token refused: %s: %v", e.Reason, e.Err)
	}
	return "ID token refused: " + e.Reason
}

// Unwrap returns the details.
func (e *RefusedError) Unwrap() error { return e.Err }

func refuse(reason string, err error) error { return &RefusedError{Reason: reason, Err: err} }

// IssuerError means that an issuer cannot be used: its keys or its endpoints are not available.
type IssuerError struct {
	Issuer string
	Reason string // may be shown to the user who configured the issuer; contains no address that is not in the configuration
	// Misconfigured means that the configuration or the issuer must change. Otherwise a retry may succeed.
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

// Unwrap returns the details.
func (e *IssuerError) Unwrap() error { return e.Err }

func misconfigured(issuer, reason string, err error) error {
	return &IssuerError{Issuer: issuer, Reason: reason, Misconfigured: true, Err: err}
}

// unreachable says why an issuer was not reached. A name that resolves to a forbidden address is
// reported like one that does not resolve: users who configure issuers must not learn what the
// server's DNS answers.
func unreachable(issuer string, err error) error {
	if refused, ok := errors.AsType[*egress.RefusedError](err); ok && refused.Obvious() {
		return misconfigured(issuer, "it is at an address that this platform does not connect to, or leads to one", err)
	}
	reason := "it does not respond, or its name leads to an address that this platform does not connect to"
	if strings.HasPrefix(issuer, "http:") {
		reason = "it does not respond, or may not be reached without TLS; use an issuer with https"
	}
	return &IssuerError{Issuer: issuer, Reason: reason, Err: err}
}

// overloaded says that an issuer responded with an error that may pass.
func overloaded(issuer, from string, resp *http.Response) error {
	reason := fmt.Sprintf("it responds with status %d; retry later", resp.StatusCode)
	return &IssuerError{Issuer: issuer, Reason: reason, Err: fmt.Errorf("%s responded %s", from, resp.Status)}
}
