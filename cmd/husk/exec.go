package main

import (
	"context"

	"github.com/spf13/cobra"

	"husk/openapi"
	"husk/session"
)

func execCommand(a *app) *cobra.Command {
	var stdin, tty bool
	var container, user, workdir string
	var env []string
	cmd := &cobra.Command{
		Use:   "exec [flags] POD [--] COMMAND [ARG…]",
		Short: "Run a command in a container",
		Long: `Run a command beside a container's own, as its user and with its rights, and
exit as it does: with its exit code, 127 when the container has no such command,
126 when it cannot be executed. Flags stand before POD.

Ctrl-C is passed on. When husk itself ends or loses its connection, the command
gets SIGHUP, and SIGKILL five seconds later.`,
		Example: `  husk exec web -- ls -l /etc
  husk exec -it web -c nginx -- sh
  tar c . | husk exec -i web -- tar x -C /srv`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeNames("pod"),
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what stands behind the pod is the command's
	fs.BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	fs.BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
	fs.StringVarP(&container, "container", "c", "", "which container; may be left out when the pod has one")
	fs.StringVarP(&user, "user", "u", "", "user or user:group (default: the container's)")
	fs.StringVarP(&workdir, "workdir", "w", "", "working directory (default: the container's)")
	fs.StringArrayVarP(&env, "env", "e", nil, "NAME=VALUE; NAME alone passes this environment's value on; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		command := args[1:]
		if command[0] == "-c" && len(command) > 2 { // husk exec web -c nginx -- sh
			container, command = command[1], command[2:]
		}
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) == 0 {
			return usagef("a command is needed")
		}
		vars, err := parseEnv(env)
		if err != nil {
			return err
		}
		params := openapi.ExecInPodParams{Container: given(container), Command: command, User: given(user), WorkingDir: given(workdir), Stdin: given(stdin)}
		if len(vars) > 0 {
			pairs := make([]string, len(vars))
			for i, v := range vars {
				pairs[i] = v.Name + "=" + v.Value
			}
			params.Env = &pairs
		}
		if tty = a.hasTerminal(tty, stdin, "the command"); tty {
			params.Tty = &tty
			params.Cols, params.Rows = a.sides()
		}
		return a.exec(cmd.Context(), args[0], params)
	}
	return cmd
}

// exec runs a command in a pod. An interruption is the command's to deal with.
func (a *app) exec(ctx context.Context, name string, params openapi.ExecInPodParams) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	pod, err := findPod(ctx, c, bare("pod", name))
	if err != nil {
		return err
	}
	req, err := openapi.NewExecInPodRequest(c.Server, pod.ID, &params)
	conn, err := dial(ctx, c, req, err)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Send(session.Signal, []byte("INT")) })() //nolint:errcheck // whoever receives says why
	t := talk{app: a, conn: conn, tty: value(params.Tty)}
	if value(params.Stdin) {
		t.in = a.in
	}
	return t.run()
}

func consoleCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "console POD",
		Short: "Follow the console of a pod's machine",
		Long: `Print what the kernel and husk-init of a pod have printed, as far as it is kept,
and what they print, until the pod is gone or Ctrl-C. Nothing can be typed:
husk exec runs commands.`,
		Example:           `  husk console web`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames("pod"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.connect()
			if err != nil {
				return err
			}
			pod, err := findPod(ctx, c, bare("pod", args[0]))
			if err != nil {
				return err
			}
			req, err := openapi.NewOpenPodConsoleRequest(c.Server, pod.ID, &openapi.OpenPodConsoleParams{})
			conn, err := dial(ctx, c, req, err)
			if err != nil {
				return err
			}
			return a.watchSession(ctx, talk{app: a, conn: conn}, false)
		},
	}
}

// watchSession prints a session until it is over. An interruption leaves it, or is passed on.
func (a *app) watchSession(ctx context.Context, t talk, proxy bool) error {
	defer t.conn.Close()
	stop := context.AfterFunc(ctx, func() {
		if proxy {
			_ = t.conn.Send(session.Signal, []byte("INT")) //nolint:errcheck // whoever receives says why
		} else {
			_ = t.conn.Close() //nolint:errcheck // it is given up
		}
	})
	defer stop()
	err := t.run()
	if ctx.Err() != nil && !proxy {
		return ctx.Err()
	}
	return err
}
