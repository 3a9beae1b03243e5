package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func attachCommand(a *app) *cobra.Command {
	var container, keys string
	var stdin, tty, proxy bool
	cmd := &cobra.Command{
		Use:   "attach POD",
		Short: "Follow the output of a container that runs, type into it, and exit as it does",
		Long: `Print what a container writes from now on, on the same streams, until it has
ended for good; husk then exits with its exit code. Several may be attached to a
container at once.

With -i standard input goes to the container, which must have been ordered with
stdin, as husk run -i does; with -it a container ordered with tty has its terminal
on this one. Ctrl-P Ctrl-Q then leave it, and it goes on. Without a terminal Ctrl-C
leaves it, unless --sig-proxy passes that on.

Whoever reads nothing for ten seconds is cut off, so that the container goes on;
what was missed is in the log.`,
		Example: `  husk attach worker
  husk attach -it shell`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames("pod"),
	}
	fs := cmd.Flags()
	fs.StringVarP(&container, "container", "c", "", "which container; may be left out when the pod has one")
	fs.BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	fs.BoolVarP(&tty, "tty", "t", false, "have the container's terminal on this one; needs -i")
	fs.BoolVar(&proxy, "sig-proxy", false, "Ctrl-C is SIGINT for the container's first process")
	addDetachKeys(cmd, &keys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		left, err := parseDetachKeys(keys)
		if err != nil {
			return err
		}
		if tty && !stdin {
			return usagef("--tty is for those who type; say --stdin as well, or leave --tty out and see the terminal's output")
		}
		params := openapi.AttachToPodParams{Container: given(container), Stdin: given(stdin)}
		if tty = a.hasTerminal(tty, stdin, "the container"); tty {
			params.Tty = &tty
			params.Cols, params.Rows = a.sides()
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := findPod(ctx, c, bare("pod", args[0]))
		if err != nil {
			return err
		}
		err = a.attach(ctx, c, pod, params, left, proxy)
		if errors.Is(err, errDetached) {
			a.hint("%s goes on", podView.ref(pod))
			return nil
		}
		return err
	}
	return cmd
}

func addDetachKeys(cmd *cobra.Command, keys *string) {
	cmd.Flags().StringVar(keys, "detach-keys", defaultDetachKeys, "what leaves a container's terminal: letters and ctrl-LETTER, with commas between them; none if empty")
}

// hasTerminal tells whether a terminal that is asked for can be had: input for one must come from one.
func (a *app) hasTerminal(tty, stdin bool, what string) bool {
	if tty && stdin && !terminal(a.in) {
		a.hint("standard input is no terminal, so %s gets none", what)
		return false
	}
	return tty
}

// attach joins a container until it has ended for good, or is left, which is errDetached.
func (a *app) attach(ctx context.Context, c *openapi.Client, pod openapi.Pod, params openapi.AttachToPodParams, keys []byte, proxy bool) error {
	req, err := openapi.NewAttachToPodRequest(c.Server, pod.ID, &params)
	conn, err := dial(ctx, c, req, err)
	if err != nil {
		return err
	}
	t := talk{app: a, conn: conn, tty: value(params.Tty)}
	if value(params.Stdin) {
		t.in = a.in
	}
	if t.tty {
		t.keys = &detacher{keys: keys}
	}
	return a.watchSession(ctx, t, proxy)
}
