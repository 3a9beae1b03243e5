// SPDX-License-Identifier: Apache-2.0

package operations

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/print"
	"husk/client"
)

// Parts are what the commands need of the command line.
type Parts struct {
	Connect func() (*client.Client, error)
	Out     io.Writer
}

// Commands makes the commands that cancel and retry operations.
func Commands(a Parts) []*cobra.Command {
	cancel := &cobra.Command{
		Use:   "cancel KIND/NAME",
		Short: "Cancel an operation that is in progress",
		Long: `Cancel an operation that is in progress: an image, a volume or a snapshot that is
being made is deleted, a pod that starts is stopped, and a drain ends. Deletions and
stops cannot be canceled.`,
		Example: "  husk operation cancel image/registry.example.com/nginx:1.22",
		Args:    cobra.ExactArgs(1),
		RunE: a.run("canceled", "cannot be canceled", func(o Operation) func(context.Context) error {
			return o.cancel
		}),
	}
	retry := &cobra.Command{
		Use:   "retry KIND/NAME",
		Short: "Retry an import of an image that has failed",
		Long: `Retry an import of an image that has failed, without a login. If its registry wants
one, use husk image import with --username or --registry-secret.`,
		Example: "  husk operation retry image/registry.example.com/nginx:1.22",
		Args:    cobra.ExactArgs(1),
		RunE: a.run("retried", "cannot be retried", func(o Operation) func(context.Context) error {
			return o.retry
		}),
	}
	return []*cobra.Command{cancel, retry}
}

// run does something with the operation of an object.
func (a Parts) run(done, not string, choose func(Operation) func(context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.Connect()
		if err != nil {
			return err
		}
		o, err := Kind.Find(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		do := choose(o)
		if do == nil {
			state := "is in progress"
			if o.Failed {
				state = "has failed"
			}
			return exit.ConflictError{Detail: fmt.Sprintf("%s: its %s %s, and %s", o.Ref(), o.Operation, state, not)}
		}
		if err := do(cmd.Context()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Out, "%s: %s %s\n", print.Clean(o.Ref().String()), o.Operation, done)
		return err
	}
}
