// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/apply"
	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/live"
	"husk/cli/manifest"
	"husk/client"
)

// Parts are what the commands need of the command line.
type Parts struct {
	In          io.Reader
	Out, Errs   io.Writer
	Connect     func() (*client.Client, error)
	Documents   func(files []string) ([]manifest.Document, error)
	Application func(c *client.Client, replace bool, timeout time.Duration) *apply.Application
	Names       complete.Offer
}

// Diff makes husk diff.
func (a Parts) Diff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show how existing objects differ from documents",
		Long: `Show how existing objects differ from documents, as diff -u does: lines with -
are of the object that exists, and lines with + are of the document. What does not
exist is all +. Nothing is changed.

Both sides have the defaults of the API. Values of secrets are not shown, only
whether they differ.

husk exits with 0 if all objects are as the documents say, with 1 if one differs,
and with a higher code if it cannot compare them.`,
		Example: `  husk diff -f web.yaml
  husk diff -f deploy/ || husk apply -f deploy/`,
		Args: cobra.NoArgs,
	}
	files := cmd.Flags().StringArrayP("filename", "f", nil, "read documents from this file or directory, or from standard input if it is -; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(*files) == 0 {
			return exit.Usagef("no documents given; add -f with a file, a directory, or - for standard input")
		}
		docs, err := a.Documents(*files)
		if err != nil {
			if exit.Code(err) == exit.Failure { // it would say that an object differs
				err = exit.DocumentError{Err: err}
			}
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		return Differ{Client: c, Out: a.Out, Errs: a.Errs}.All(cmd.Context(), docs)
	}
	return cmd
}

// Edit makes husk edit.
func (a Parts) Edit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit KIND NAME | KIND/NAME",
		Short: "Change an object in an editor",
		Long: `Change an object in an editor: husk opens its document in $VISUAL, $EDITOR or vi,
and applies what you change when the editor ends. If the API refuses it, the editor
opens again, with the reason. If somebody else has changed the object in the
meantime, it shows how.

Of a pod, the size, labels, annotations and security groups can be changed, also
while it runs. With --replace, husk deletes the pod and creates it again with
everything else that you change; the pod's volumes keep their data. Values of a
secret are not shown. Those that you do not replace stay as they are.`,
		Example: `  husk edit config web
  EDITOR=nano husk edit service/web`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.Names,
	}
	replace := cmd.Flags().Bool("replace", false, "delete a pod that differs, and create it again")
	timeout := cmd.Flags().Duration("timeout", 10*time.Minute, "how long husk waits for a pod that it replaces")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		refs, err := kind.ParseRefs(args)
		if err != nil {
			return err
		}
		if len(refs) != 1 {
			return exit.Usagef("name one object, such as husk edit pod web")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		change := a.Application(c, *replace, *timeout)
		change.Kept = live.Hidden
		return Editing{
			Client: c, In: a.In, Out: a.Out, Errs: a.Errs,
			Apply: func(ctx context.Context, d manifest.Document) error { return change.All(ctx, []manifest.Document{d}) },
		}.Run(cmd.Context(), refs[0])
	}
	return cmd
}
