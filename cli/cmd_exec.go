// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"husk/cli/attend"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/terminal"
	"husk/client"
	"husk/openapi"
)

func execCommand(a *app) *cobra.Command {
	var o client.ExecOptions
	var env []string
	cmd := &cobra.Command{
		Use:   "exec [flags] POD [--] COMMAND [ARG…]",
		Short: "Run a command in a running container",
		Long: `Run a command in a running container, as the container's user and with its
privileges. husk exits with the exit code of the command: 127 if the container
has no such command, 126 if it cannot be executed. Flags come before POD;
only -c CONTAINER may also follow it.

Ctrl-C sends SIGINT to the command. If husk ends or loses its connection, the
command gets SIGHUP, and SIGKILL five seconds later.`,
		Example: `  husk exec web -- ls -l /etc
  husk exec -it web -c nginx -- sh
  tar c . | husk exec -i web -- tar x -C /srv`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // everything after the pod is for the command
	fs.BoolVarP(&o.Stdin, "stdin", "i", false, "send standard input to the command")
	fs.BoolVarP(&o.Terminal, "tty", "t", false, "give the command a terminal")
	fs.StringVarP(&o.Container, "container", "c", "", "container name; optional if the pod has only one container")
	fs.StringVarP(&o.User, "user", "u", "", "user or user:group (default: the container's)")
	fs.StringVarP(&o.WorkingDir, "workdir", "w", "", "working directory (default: the container's)")
	fs.StringArrayVarP(&env, "env", "e", nil, "set an environment variable: NAME=VALUE, or NAME to take the value from husk's environment; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		command := args[1:]
		if command[0] == "-c" && len(command) > 2 { // husk exec web -c nginx -- sh
			o.Container, command = command[1], command[2:]
		}
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) == 0 {
			return exit.Usagef("no command given; add one after the pod's name")
		}
		o.Command = command
		vars, err := parse.Env(env)
		if err != nil {
			return err
		}
		for _, v := range vars {
			o.Env = append(o.Env, v.Name+"="+openapi.Value(v.Value))
		}
		if o.Terminal = a.hasTerminal(o.Terminal, o.Stdin, "the command"); o.Terminal {
			o.Size = terminal.Size(a.out)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		pod, err := kind.FindPod(ctx, c, args[0])
		if err != nil {
			return err
		}
		s, err := c.Pods.Exec(ctx, pod.ID, o)
		if err != nil {
			return err
		}
		return a.talk(ctx, s, talkOptions{stdin: o.Stdin, terminal: o.Terminal, passInterrupt: true, out: a.out, errs: a.errs})
	}
	return cmd
}

func attachCommand(a *app) *cobra.Command {
	var o client.AttachOptions
	var keys string
	var proxy bool
	cmd := &cobra.Command{
		Use:   "attach POD",
		Short: "Attach to a running container, and exit with its exit code",
		Long: `Print the new output of a container until it ends and is not restarted, and then
exit with its exit code. Without a terminal, its standard output and its standard
error stay separate. Several clients may attach to a container at the same time.

With -i, husk sends its standard input to the container. This requires a container
with stdin, as created by husk run -i. With -it, husk connects your terminal to the
container's. This requires a container that was created with stdin and tty. Ctrl-P
Ctrl-Q then detaches, and the container continues. Without -t, Ctrl-C detaches.
With --sig-proxy, Ctrl-C sends SIGINT to the container instead.

A client that reads nothing for ten seconds is disconnected, so that the
container is not blocked. The output that the client missed is in the log.`,
		Example: `  husk attach worker
  husk attach -it shell`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.Container, "container", "c", "", "container name; optional if the pod has only one container")
	fs.BoolVarP(&o.Stdin, "stdin", "i", false, "send standard input to the container")
	fs.BoolVarP(&o.Terminal, "tty", "t", false, "connect this terminal to the container's; requires -i")
	fs.BoolVar(&proxy, "sig-proxy", false, "send SIGINT to the container's first process on Ctrl-C")
	addDetachKeys(cmd, &keys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkDetachKeys(keys); err != nil {
			return err
		}
		if o.Terminal && !o.Stdin {
			return exit.Usagef("--tty requires --stdin; without both, husk prints the output of the container's terminal")
		}
		o.Terminal = a.hasTerminal(o.Terminal, o.Stdin, "the container")
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		err = a.attach(cmd.Context(), c, pod, o, keys, proxy, new(attend.Printed))
		if errors.Is(err, client.ErrDetached) {
			a.hint("%s is still running", kind.Pods.Ref(pod))
			return nil
		}
		return err
	}
	return cmd
}

// attach attaches to a container until it ends and is not restarted. If the user detaches first, attach returns client.ErrDetached.
// It counts what it prints in out.
func (a *app) attach(ctx context.Context, c *client.Client, pod openapi.Pod, o client.AttachOptions, keys string, proxy bool, out *attend.Printed) error {
	if o.Terminal {
		o.Size = terminal.Size(a.out)
	}
	s, err := c.Pods.Attach(ctx, pod.ID, o)
	if err != nil {
		return err
	}
	out.Begun = true
	t := talkOptions{stdin: o.Stdin, terminal: o.Terminal, passInterrupt: proxy, out: out.Writer(a.out, &out.Out), errs: out.Writer(a.errs, &out.Errs)}
	if o.Terminal {
		t.keys = keys
	}
	return a.talk(ctx, s, t)
}

func consoleCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "console POD",
		Short: "Follow the console of a pod's virtual machine",
		Long: `Print the console of a pod's virtual machine: the stored recent output of the
kernel and of husk-init, then new output. husk stops when the pod is deleted, or on
Ctrl-C. The console takes no input; to run a command, use husk exec.`,
		Example:           `  husk console web`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.offers().Names("pod"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			pod, err := kind.FindPod(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			s, err := c.Pods.Console(cmd.Context(), pod.ID)
			if err != nil {
				return err
			}
			return a.talk(cmd.Context(), s, talkOptions{out: a.out, errs: a.errs})
		},
	}
}

// hasTerminal reports whether to request a terminal: tty must be set, and if standard input is sent, it must be a terminal.
func (a *app) hasTerminal(tty, stdin bool, what string) bool {
	if tty && stdin && !terminal.Is(a.in) {
		a.hint("standard input is not a terminal; running %s without a terminal", what)
		return false
	}
	return tty
}

// talkOptions say how this program's streams are connected to a session.
type talkOptions struct {
	stdin, terminal bool
	keys            string // the detach keys; empty for none
	out, errs       io.Writer
	passInterrupt   bool // Ctrl-C is sent to the command as SIGINT instead of ending the session
}

// talk connects a session to this program's streams until the session has ended.
func (a *app) talk(ctx context.Context, s *client.Session, o talkOptions) error {
	defer s.Close()
	if o.terminal {
		back, err := terminal.Handover(a.in, a.out, o.stdin, s.Resize)
		if err != nil {
			return err
		}
		defer back()
	}
	if o.passInterrupt {
		defer context.AfterFunc(ctx, func() { _ = s.Signal("INT") })() //nolint:errcheck // Stream says why it failed
		ctx = context.WithoutCancel(ctx)
	}
	streams := client.Streams{Out: o.out, Err: o.errs}
	if o.stdin {
		keys, err := terminal.ParseDetachKeys(o.keys)
		if err != nil {
			return err
		}
		streams.In = terminal.Detachable(a.in, keys)
	}
	return s.Stream(ctx, streams)
}
