// Command husk is a tenant's command line: pods, volumes and images over the REST API.
//
// Each verb is a thin command in a file of its own; client.go is the way to the API, retry.go makes calls survive a lost connection,
// failure.go turns what went wrong into one line and an exit code, output.go prints, parse.go reads what people type. It is pure Go:
// it imports the generated client and nothing else of ours.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code) //nolint:gocritic // stop has run
}

// run is the whole command with everything it touches given, and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	started := false
	cmd := root(&started)
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	if err != nil && !started {
		err = usageError{err}
	}
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		for _, e := range each(err) {
			fmt.Fprintln(errs, "husk:", clean(e.Error()))
		}
	}
	if code == exitUsage {
		fmt.Fprintln(errs, "husk --help lists the commands, husk COMMAND --help explains one")
	}
	return code
}

// each takes joined errors apart, one for each line.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only the outermost is a list of ours
		return joined.Unwrap()
	}
	return []error{err}
}

// root builds the tree of commands. It sets started once the arguments of a command are accepted, so that what fails before is a
// mistake in the command line.
func root(started *bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "husk",
		Short: "Order pods, volumes and images",
		Long: `Order pods, volumes and images.

Environment:
  HUSK_API            URL of the API
  HUSK_CLIENT_ID      client id of an API key
  HUSK_CLIENT_SECRET  its secret

Exit codes:
  0    done
  1    failed: a pod or image that was waited for has failed, a file or an answer cannot be read
  2    the command line is wrong
  3    there is no such object or image
  4    refused: not allowed, over the quota, in use, invalid
  5    the API does not answer or has trouble of its own
  130  interrupted`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	cmd.AddCommand(
		runCommand(), podsCommand(), podCommand(), logsCommand(), volumesCommand(), volumeCommand(), imagesCommand(), imageCommand(),
		getCommand(), deleteCommand(), versionCommand(),
	)
	return cmd
}
