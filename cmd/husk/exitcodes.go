package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"husk"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitConflict    = 5
	exitLimit       = 6
	exitUnavailable = 7
	exitNotExec     = 126 // as a shell
	exitNoCommand   = 127
	exitTimeout     = 124 // as timeout(1)
	exitInterrupted = 130 // 128 and SIGINT
)

// exitMeanings is what husk help exit-codes and docs/cli.md show.
var exitMeanings = []struct {
	code    int
	meaning string
}{
	{exitOK, "done"},
	{exitFailure, "failed: what was waited for has failed, or a file or an answer cannot be read"},
	{exitUsage, "the command line, a document or a value in it is wrong"},
	{exitNotFound, "there is no such object or image"},
	{exitRefused, "not logged in, or not allowed"},
	{exitConflict, "the object is in use, has changed meanwhile, or its name is taken"},
	{exitLimit, "the quota or the rate limit is reached"},
	{exitUnavailable, "the API, the network, a registry or an issuer is down or in trouble"},
	{exitTimeout, "what was waited for has not happened in time"},
	{exitNotExec, "the command cannot be executed in the container"},
	{exitNoCommand, "the container has no such command"},
	{exitInterrupted, "interrupted"},
}

// exitOfProblem gives every problem code of the API its exit code; a test holds it complete.
var exitOfProblem = map[husk.Code]int{
	husk.CodeInvalid:              exitUsage,
	husk.CodeUnknownField:         exitUsage,
	husk.CodeReadOnlyField:        exitUsage,
	husk.CodeTooLarge:             exitUsage,
	husk.CodeUnsupportedEncoding:  exitFailure,
	husk.CodeUnauthenticated:      exitRefused,
	husk.CodeForbidden:            exitRefused,
	husk.CodeRateLimited:          exitLimit,
	husk.CodeNotFound:             exitNotFound,
	husk.CodeMethodNotAllowed:     exitFailure,
	husk.CodeNameTaken:            exitConflict,
	husk.CodeQuotaExceeded:        exitLimit,
	husk.CodeVolumeInUse:          exitConflict,
	husk.CodeImageInUse:           exitConflict,
	husk.CodeImageNotFound:        exitNotFound,
	husk.CodeImageUnsupported:     exitFailure,
	husk.CodeRegistryUnauthorized: exitRefused,
	husk.CodeRegistryUnreachable:  exitUnavailable,
	husk.CodeIdempotencyMismatch:  exitConflict,
	husk.CodePreconditionFailed:   exitConflict,
	husk.CodeIssuerUnreachable:    exitUnavailable,
	husk.CodeConflict:             exitConflict,
	husk.CodeUpgradeRequired:      exitFailure,
	husk.CodeSessionLimit:         exitLimit,
	husk.CodeSessionIdle:          exitTimeout,
	husk.CodeSessionSlow:          exitTimeout,
	husk.CodeCommandNotFound:      exitNoCommand,
	husk.CodeCommandNotExecutable: exitNotExec,
	husk.CodeLogsUnavailable:      exitUnavailable,
	husk.CodeUnavailable:          exitUnavailable,
	husk.CodeInternal:             exitUnavailable,
}

func exitCodesText() string {
	var b strings.Builder
	for _, e := range exitMeanings {
		fmt.Fprintf(&b, "  %-4d %s\n", e.code, e.meaning)
	}
	return b.String()
}

// exitCodesTopic is a page of help and no command.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: "What the exit codes mean.\n\n" + exitCodesText() + `
husk run, unless -d or --wait is given, exits with the code of the container when
that has ended; such a code may be any number. What keeps it from getting there
exits with a code of the table.`,
	}
}
