// Command husk is a tenant's command line: pods, volumes and images over the REST API.
//
// Each verb is a thin command in a file of its own. What they share: app.go is one call of the command; client.go, auth.go and retry.go
// are the way to the API; resource.go makes lists out of what a kind's file says of it; output.go and table.go print, progress.go
// tells what is waited for, failure.go turns what went wrong into one line and an exit code of exitcodes.go. Packages below this one
// hold what needs neither the API nor the command line: config the contexts, oidc the login at an issuer, manifest the documents of
// apply. It is pure Go and imports the vocabulary and the generated client, nothing else of ours.
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
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for what the first one cleans up
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code) //nolint:gocritic // stop has run
}

// run is the whole command with everything it touches given, and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, errs: errs}
	cmd := root(a)
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	ran, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = usageError{err}
	}
	code := exitCode(err)
	for _, e := range each(err) {
		_, said := errors.AsType[containerError](e)
		if interrupted := ctx.Err() != nil && errors.Is(e, context.Canceled); !said && !interrupted {
			fmt.Fprintln(errs, "husk:", clean(e.Error()))
		}
	}
	if _, usage := errors.AsType[usageError](err); usage {
		fmt.Fprintf(errs, "%s --help explains it\n", ran.CommandPath())
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

// root builds the tree of commands.
func root(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "husk",
		Short: "Order pods, volumes and images",
		Long: `Order pods, volumes and images. Every pod is a virtual machine of its own.

Log in with "husk login URL"; that makes a context, and "husk context" lists and
changes them. In the place of a context, the environment may say it all, and
then wins over the contexts:

  HUSK_API            URL of the API
  HUSK_CLIENT_ID      client id of an API key
  HUSK_CLIENT_SECRET  its secret

HUSK_CONTEXT chooses a context, and the flag --context wins over all of these.
NO_COLOR, with any value, turns colors off; they are only used on a terminal.`,
		SilenceUsage: true, SilenceErrors: true,
		// What fails before this runs is a mistake in the command line.
		PersistentPreRun: func(*cobra.Command, []string) { a.started = true },
	}
	cmd.PersistentFlags().StringVar(&a.context, "context", "", "the context to use, in the place of the current one")
	cmd.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no hints on standard error")
	a.complete(cmd, "context", completeContexts)
	const pods, things, people, metal, self = "pods", "things", "people", "metal", "self"
	cmd.AddGroup(
		&cobra.Group{ID: pods, Title: "Pods:"},
		&cobra.Group{ID: things, Title: "Everything that there is:"},
		&cobra.Group{ID: people, Title: "Who may do what, for owners:"},
		&cobra.Group{ID: metal, Title: "Machines, for operators:"},
		&cobra.Group{ID: self, Title: "You and this program:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			cmd.AddCommand(c)
		}
	}
	add(pods, runCommand(a), podsCommand(a), podCommand(a), logsCommand(a), placementCommand(a))
	add(pods, execCommand(a), attachCommand(a), consoleCommand(a), portForwardCommand(a), cpCommand(a), topCommand(a))
	add(things, volumesCommand(a), imagesCommand(a), eventsCommand(a), quotaCommand(a), usageCommand(a), applyCommand(a), getCommand(a), deleteCommand(a), waitCommand(a))
	add(people, serviceAccountsCommand(a), apiKeysCommand(a), usersCommand(a), issuersCommand(a), auditCommand(a))
	add(metal, nodesCommand(a), poolsCommand(a), defragmentCommand(a))
	add(self, loginCommand(a), logoutCommand(a), whoamiCommand(a), contextCommand(a), versionCommand())
	cmd.SetHelpCommandGroupID(self)
	cmd.SetCompletionCommandGroupID(self)
	cmd.AddCommand(manCommand(), exitCodesTopic())
	return cmd
}
