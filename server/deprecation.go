// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// A deprecated operation stays for at least this long, and for two minor releases, which no program can check.
const deprecatedFor = 180 * 24 * time.Hour

// deprecation is when an operation was deprecated and when it will be removed.
type deprecation struct{ at, sunset time.Time }

// deprecationsOf reads the deprecated operations from the contract. docs/api.md promises callers a transition period; a contract that gives them less
// time, or no date, is refused.
func deprecationsOf(spec *openapi3.T) (map[string]deprecation, error) {
	found := map[string]deprecation{}
	var wrong []error
	for _, item := range spec.Paths.Map() {
		for _, op := range item.Operations() {
			if !op.Deprecated {
				continue
			}
			at, err1 := dateOf(op, "x-deprecated-at")
			sunset, err2 := dateOf(op, "x-sunset")
			err := errors.Join(err1, err2)
			if err == nil && sunset.Sub(at) < deprecatedFor {
				err = fmt.Errorf("the contract removes %s after %s; a deprecated operation must stay for at least %d days", op.OperationID, sunset.Sub(at), int(deprecatedFor.Hours()/24))
			}
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			found[operationName(op.OperationID)] = deprecation{at, sunset}
		}
	}
	return found, errors.Join(wrong...)
}

func dateOf(op *openapi3.Operation, name string) (time.Time, error) {
	text, _ := op.Extensions[name].(string)
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return date, fmt.Errorf("the contract: %s is deprecated and its %s is %q; write a date such as '2026-01-31', in quotes", op.OperationID, name, text)
	}
	return date, nil
}

// tell writes the headers Deprecation (RFC 9745) and Sunset (RFC 8594) with every response, for callers that do not read the contract.
func (d deprecation) tell(h http.Header) {
	if d.at.IsZero() {
		return
	}
	h.Set("Deprecation", "@"+strconv.FormatInt(d.at.Unix(), 10))
	h.Set("Sunset", d.sunset.UTC().Format(http.TimeFormat))
}
