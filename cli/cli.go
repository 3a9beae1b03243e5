// SPDX-License-Identifier: Apache-2.0

// Package cli is the husk command, which manages pods, volumes, images and everything around them through the API.
//
// Each command, or group of similar commands, is in a file cmd_NAME.go. The common code of all commands
// is in this file and in resource.go (commands that list objects).
// The subpackages have the rest: print shows objects, parse reads flags, exit has the exit codes,
// terminal handles terminals, config stores the contexts, connect chooses a context and logs in,
// and manifest reads the documents of apply. All packages call the API through package client.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/connect"
	"husk/cli/edit"
	"husk/cli/exit"
	"husk/cli/forward"
	"husk/cli/habits"
	"husk/cli/issuers"
	"husk/cli/kind"
	"husk/cli/operations"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/cli/terminal"
	"husk/cli/top"
	"husk/client"
	"husk/openapi"
)

// Main runs the command with the arguments, streams and signals of this process, and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once, without waiting for the cleanup
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// app is one run of the command: its streams, and the flags that every command has.
type app struct {
	in        io.Reader
	out, errs io.Writer
	context   string // --context
	quiet     bool
	started   bool // the arguments were accepted
}

// run runs the command with the given arguments and streams, and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, errs: errs}
	cmd := root(a)
	args, err := habits.Translate(args)
	if err != nil {
		a.warn(err)
		return exit.Usage
	}
	cmd.SetArgs(args)
	cmd.SetIn(in)
	help := &checkedWriter{w: out} // cobra does not check whether its help was printed
	cmd.SetOut(help)
	cmd.SetErr(errs)
	strictHelp(cmd)
	ran, err := cmd.ExecuteContextC(ctx)
	if err == nil && help.err != nil {
		err = fmt.Errorf("write to standard output: %w", help.err)
		a.started = true
	}
	if err == nil {
		return exit.OK
	}
	if !a.started {
		err = exit.UsageError{Err: err}
	}
	code := exit.Code(err)
	for _, e := range each(err) {
		_, said := errors.AsType[*client.ExitError](e) // the remote command has already printed its own error
		if interrupted := ctx.Err() != nil && errors.Is(e, context.Canceled); !said && !interrupted {
			a.warn(e)
		}
	}
	if _, usage := errors.AsType[exit.UsageError](err); usage {
		fmt.Fprintf(errs, "see %s --help\n", ran.CommandPath())
	}
	return code
}

// checkedWriter remembers the first error of a writer.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// each splits joined errors, so that each is printed on its own line.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // only the outermost errors are lists that this package has made
	if !ok || !isList(err, joined.Unwrap()) {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, each(e)...)
	}
	return all
}

// isList reports whether an error says only what its parts say, as those of errors.Join.
func isList(err error, parts []error) bool {
	texts := make([]string, 0, len(parts))
	for _, e := range parts {
		texts = append(texts, e.Error())
	}
	return err.Error() == strings.Join(texts, "\n")
}

// root builds the tree of commands.
func root(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "husk",
		Short: "Run and manage pods, volumes and images",
		Long: `Run and manage pods, volumes and images. Every pod is a virtual machine.

Log in with "husk login URL", which creates a context. "husk context" lists and
changes contexts. These environment variables together replace a context, and take
precedence over it:

  HUSK_API            URL of the API
  HUSK_CLIENT_ID      client ID of an API key
  HUSK_CLIENT_SECRET  its secret

HUSK_CONTEXT selects a context. The flag --context takes precedence over all of
these. NO_COLOR, with any value, turns colors off; only terminals get colors.`,
		SilenceUsage: true, SilenceErrors: true,
		// An error before this runs is a mistake in the command line.
		PersistentPreRun: func(*cobra.Command, []string) { a.started = true },
	}
	cmd.SetFlagErrorFunc(parse.FlagError)
	cmd.PersistentFlags().StringVar(&a.context, "context", "", "use this context instead of the current one")
	cmd.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print no progress and no hints on standard error; lists print only IDs")
	complete.Flag(cmd, "context", complete.Contexts)
	const pods, objects, access, machines, self = "pods", "objects", "access", "machines", "self"
	cmd.AddGroup(
		&cobra.Group{ID: pods, Title: "Pods:"},
		&cobra.Group{ID: objects, Title: "All kinds of objects:"},
		&cobra.Group{ID: access, Title: "Access, for owners of a tenant:"},
		&cobra.Group{ID: machines, Title: "Tenants and nodes, for operators:"},
		&cobra.Group{ID: self, Title: "Your login and this program:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			cmd.AddCommand(c)
		}
	}
	add(pods, runCommand(a), podsCommand(a), podCommand(a), logsCommand(a), placementCommand(a))
	add(pods, lifecycleCommands(a)...)
	ports := forward.Parts{Connect: a.connect, Out: func() io.Writer { return a.out }, Warn: a.warn, Names: a.offers().Names}
	use := top.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names}
	add(pods, execCommand(a), attachCommand(a), consoleCommand(a), forward.Command(ports), cpCommand(a), top.Command(use))
	add(objects, volumesCommand(a), snapshotsCommand(a), volumeClassesCommand(a), imagesCommand(a))
	add(objects, configsCommand(a, kind.Configs, openapi.ConfigKindConfig), configsCommand(a, kind.Secrets, openapi.ConfigKindSecret), networksCommand(a), servicesCommand(a), addressesCommand(a), groupsCommand(a), ingressesCommand(a))
	changes := edit.Parts{In: a.in, Out: a.out, Errs: a.errs, Connect: a.connect, Documents: a.documents, Application: a.application, Names: a.offers().KindThenNames}
	running := listCommand(a, operations.Kind)
	running.ValidArgsFunction = nil
	running.AddCommand(operations.Commands(operations.Parts{Connect: a.connect, Out: a.out})...)
	add(objects, running, eventsCommand(a), quotaCommand(a), usageCommand(a), applyCommand(a), changes.Diff(), changes.Edit(), getCommand(a), deleteCommand(a), waitCommand(a))
	add(access, serviceAccountsCommand(a), apiKeysCommand(a), usersCommand(a), issuersCommand(a, issuers.Tenant), auditCommand(a))
	add(machines, tenantsCommand(a), nodesCommand(a), poolsCommand(a), defragmentCommand(a), a.moving().Pod(), issuersCommand(a, issuers.Platform), signingKeysCommand(a), unknownCommand(a))
	add(self, loginCommand(a), logoutCommand(a), whoamiCommand(a), contextCommand(a), versionCommand(a))
	cmd.SetHelpCommandGroupID(self)
	cmd.SetCompletionCommandGroupID(self)
	cmd.AddCommand(manCommand(), exitCodesTopic())
	return cmd
}

// strictHelp makes unknown topics of cobra's help and completion an error. They use the output that the command has now.
func strictHelp(cmd *cobra.Command) {
	cmd.InitDefaultHelpCmd()
	cmd.InitDefaultCompletionCmd()
	for _, c := range cmd.Commands() {
		switch c.Name() {
		case "help": // cobra's prints a line and succeeds
			show := c.Run
			c.Run = nil
			c.RunE = func(help *cobra.Command, args []string) error {
				if found, _, err := cmd.Find(args); err != nil || found == nil || found == cmd && len(args) > 0 {
					return exit.Usagef("there is no help about %q", strings.Join(args, " "))
				}
				show(help, args)
				return nil
			}
		case "completion":
			c.Args = nil
			group(c)
		}
	}
}

// group makes a command that only has subcommands. Without a subcommand, or with an unknown one, it returns an error.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit.Usagef("there is no command %q", cmd.CommandPath()+" "+args[0])
		}
		return exit.Usagef("%s needs a command: %s", cmd.CommandPath(), cmd.Commands()[0].Use)
	}
	return cmd
}

// connect makes a client for the context that the flags and the environment select.
func (a *app) connect() (*client.Client, error) {
	t, err := connect.Find(a.context)
	if err != nil {
		return nil, err
	}
	return t.Client()
}

// hint says on standard error what can be done next.
func (a *app) hint(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.errs, format+"\n", args...)
	}
}

// warn prints an error on standard error.
func (a *app) warn(err error) { fmt.Fprintln(a.errs, "husk:", print.Clean(err.Error())) }

// interactive reports whether questions can be asked.
func (a *app) interactive() bool { return terminal.Is(a.in) && terminal.Is(a.errs) }

func (a *app) progress() *print.Progress { return print.NewProgress(a.errs, a.quiet) }

// outputFlags adds -o and returns a function that reads and checks it. The first format is the default. The command also has the other formats of
// print.Formats, unless it names more than one.
// offers returns what a shell can complete names from.
func (a *app) offers() complete.Objects { return complete.Objects{Connect: a.connect} }

func (a *app) outputFlags(cmd *cobra.Command, formats ...string) func() (print.Printer, error) {
	preset := formats[0]
	if len(formats) == 1 {
		formats = print.Formats
		if !slices.Contains(formats, preset) {
			formats = append([]string{preset}, formats...)
		}
	}
	templates := ""
	if slices.Contains(formats, "json") {
		templates = ", jsonpath=, custom-columns="
	}
	format := cmd.Flags().StringP("output", "o", preset, "output format: "+strings.Join(formats, ", ")+templates)
	noHeaders := cmd.Flags().Bool("no-headers", false, "print tables without headers")
	complete.Words(cmd, "output", formats...)
	return func() (print.Printer, error) {
		templated, err := print.Templated(*format)
		if templated = templated && slices.Contains(formats, "json"); templated && err != nil {
			return print.Printer{}, exit.Usagef("--output: %w", err)
		}
		if !templated && !slices.Contains(formats, *format) {
			return print.Printer{}, exit.Usagef("--output: %q is not one of %s", *format, strings.Join(formats, ", "))
		}
		return print.Printer{Out: a.out, Format: *format, NoHeaders: *noHeaders, Quiet: a.quiet}, nil
	}
}

// given returns a pointer to a value, or nil for a zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
