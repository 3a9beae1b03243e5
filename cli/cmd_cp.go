// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
)

func cpCommand(a *app) *cobra.Command {
	var o client.CopyOptions
	cmd := &cobra.Command{
		Use:   "cp [flags] POD:PATH LOCAL | LOCAL POD:PATH",
		Short: "Copy files and directories to and from a container",
		Long: `Copy a file or a directory with its contents out of a container or into one. The
container needs no tar. As with Unix's cp, the copy goes into the destination if
that is a directory, and otherwise gets the destination's name. If LOCAL is -, husk
reads a tar archive from standard input, or writes one to standard output.

husk keeps permissions and times. Files that it copies into the container belong to
the container's user, unless --archive keeps the numeric owners. Files that it
copies out belong to you.
Nothing is written outside of the destination, whatever an archive contains.`,
		Example: `  husk cp web:/etc/nginx ./nginx
  husk cp ./site web:/usr/share/nginx/html -c nginx
  husk cp web:/var/log - | tar t`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			if strings.ContainsAny(word, ":/.") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			names := a.offers().Named(cmd, "pod")
			for i := range names {
				names[i] += ":"
			}
			return names, cobra.ShellCompDirectiveNoSpace
		},
	}
	cmd.Flags().StringVarP(&o.Container, "container", "c", "", "container name; optional if the pod has only one container")
	cmd.Flags().BoolVarP(&o.KeepOwners, "archive", "a", false, "keep the numeric owners of files that are copied into the container")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fromPod, from, out := podPath(args[0])
		toPod, to, in := podPath(args[1])
		o.Skipped = func(name, why string) { a.hint("%s is skipped: %s", print.Clean(name), why) }
		o.Warn = func(message string) { a.warn(errors.New(message)) }
		switch {
		case out == in:
			return exit.Usagef("one of the two arguments must be in a pod, as POD:/PATH, and the other must be local")
		case out:
			o.Path = from
			return a.copyOut(cmd.Context(), fromPod, o, args[1])
		default:
			o.Path = to
			return a.copyIn(cmd.Context(), args[0], toPod, o)
		}
	}
	return cmd
}

// podPath takes POD:PATH apart. A local path with a colon is written ./a:b.
func podPath(arg string) (pod, path string, is bool) {
	pod, path, is = strings.Cut(arg, ":")
	if !is || strings.ContainsAny(strings.TrimPrefix(pod, "pod/"), `/\.`) || len(pod) < 2 {
		return "", "", false
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return pod, path, true
}

func (a *app) copyOut(ctx context.Context, pod string, o client.CopyOptions, local string) error {
	return a.withPod(ctx, pod, func(c *client.Client, id uuid.UUID) error {
		if local == "-" {
			return c.Pods.CopyOut(ctx, id, o, a.out)
		}
		return c.Pods.Download(ctx, id, o, local)
	})
}

func (a *app) copyIn(ctx context.Context, local, pod string, o client.CopyOptions) error {
	if local != "-" {
		if _, err := os.Lstat(local); err != nil { // checked before the first request is sent
			return exit.UsageError{Err: err}
		}
	}
	return a.withPod(ctx, pod, func(c *client.Client, id uuid.UUID) error {
		if local == "-" {
			return c.Pods.CopyIn(ctx, id, o, a.in)
		}
		return c.Pods.Upload(ctx, id, local, o)
	})
}

func (a *app) withPod(ctx context.Context, name string, do func(*client.Client, uuid.UUID) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	pod, err := kind.FindPod(ctx, c, name)
	if err != nil {
		return err
	}
	return do(c, pod.ID)
}
