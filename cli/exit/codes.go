// SPDX-License-Identifier: Apache-2.0

// Package exit has the exit codes of the command line and the errors that decide about them. It knows the errors of package client.
package exit

import (
	"fmt"
	"strings"

	"husk"
)

// The exit codes.
const (
	OK            = 0
	Failure       = 1
	Usage         = 2
	NotFound      = 3
	Refused       = 4
	Conflict      = 5
	Limit         = 6
	Unavailable   = 7
	NotExecutable = 126 // as in a shell
	NoCommand     = 127
	Timeout       = 124 // as timeout(1)
	Interrupted   = 130 // 128 and SIGINT
)

// Meanings are the lines of husk help exit-codes and of docs/cli.md.
var Meanings = []struct {
	Code    int
	Meaning string
}{
	{OK, "done"},
	{Failure, "failure: the pod or image failed, or a file or a response cannot be read"},
	{Usage, "the command line or a document is wrong"},
	{NotFound, "no such object or image"},
	{Refused, "not logged in, or not allowed"},
	{Conflict, "the object is in use or was changed by somebody else, or the name is taken"},
	{Limit, "the quota or the rate limit is reached"},
	{Unavailable, "the API, a registry or an issuer does not respond or fails"},
	{Timeout, "timeout: what the command waits for did not happen in time"},
	{NotExecutable, "the command cannot be executed in the container"},
	{NoCommand, "the container has no such command"},
	{Interrupted, "interrupted"},
}

// ofProblem has the exit code of every problem code of the API. A test checks that it is complete.
var ofProblem = map[husk.Code]int{
	husk.CodeInvalid:              Usage,
	husk.CodeUnknownField:         Usage,
	husk.CodeReadOnlyField:        Usage,
	husk.CodeTooLarge:             Usage,
	husk.CodeUnsupportedEncoding:  Failure,
	husk.CodeUnauthenticated:      Refused,
	husk.CodeForbidden:            Refused,
	husk.CodeRateLimited:          Limit,
	husk.CodeConcurrencyLimit:     Limit,
	husk.CodeNotFound:             NotFound,
	husk.CodeMethodNotAllowed:     Failure,
	husk.CodeNameTaken:            Conflict,
	husk.CodeQuotaExceeded:        Limit,
	husk.CodeVolumeInUse:          Conflict,
	husk.CodeImageInUse:           Conflict,
	husk.CodeSnapshotInUse:        Conflict,
	husk.CodeImageNotFound:        NotFound,
	husk.CodeImageUnsupported:     Failure,
	husk.CodeRegistryUnauthorized: Refused,
	husk.CodeRegistryUnreachable:  Unavailable,
	husk.CodeIdempotencyMismatch:  Conflict,
	husk.CodePreconditionFailed:   Conflict,
	husk.CodeIssuerUnreachable:    Unavailable,
	husk.CodeLastOwner:            Conflict,
	husk.CodeConflict:             Conflict,
	husk.CodeUpgradeRequired:      Failure,
	husk.CodeSessionLimit:         Limit,
	husk.CodeSessionIdle:          Timeout,
	husk.CodeSessionSlow:          Timeout,
	husk.CodeCommandNotFound:      NoCommand,
	husk.CodeCommandNotExecutable: NotExecutable,
	husk.CodeLogsUnavailable:      Unavailable,
	husk.CodeUnavailable:          Unavailable,
	husk.CodeInternal:             Unavailable,
}

// Text returns the table of the exit codes.
func Text() string {
	var b strings.Builder
	for _, e := range Meanings {
		fmt.Fprintf(&b, "  %-4d %s\n", e.Code, e.Meaning)
	}
	return b.String()
}
