// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

type logFlags struct {
	follow, timestamps, all bool
	tail                    int
	since                   string
	containers              []string
}

func logsCommand(a *app) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:     "logs POD [CONTAINER…]",
		Aliases: []string{"log"},
		Short:   "Print the logs of containers",
		Long: `Print the log of a container. With several containers, each line begins with the
name of its container.

With --follow, husk prints new lines until the container ends and is not restarted.
If the pod is evicted, new lines come from the next node it runs on.
If the connection is lost, husk opens it again and continues after the last line.`,
		Example: `  husk logs web
  husk logs -f --tail 20 --timestamps web -c nginx
  husk logs -f --since 10m --all-containers web`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&f.follow, "follow", "f", false, "keep printing new lines until the container has ended and is not restarted")
	fs.IntVar(&f.tail, "tail", -1, "number of lines to print from the end of each log")
	fs.Lookup("tail").DefValue = "all" // shown instead of -1, which means all
	fs.BoolVarP(&f.timestamps, "timestamps", "t", false, "print the time before each line")
	fs.StringVar(&f.since, "since", "", "print only lines since a time (2026-03-02T09:00:00Z) or a duration ago (10m)")
	fs.StringArrayVarP(&f.containers, "container", "c", nil, "container name; optional if the pod has only one container; may be repeated")
	fs.BoolVar(&f.all, "all-containers", false, "print the logs of all containers of the pod")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.containers = append(f.containers, args[1:]...)
		if cmd.Flags().Changed("tail") && f.tail < 0 {
			return exit.Usagef("--tail: %d is negative", f.tail)
		}
		if f.all && len(f.containers) > 0 {
			return exit.Usagef("--all-containers is given together with container %q; choose one of them", f.containers[0])
		}
		since, err := parse.Since(f.since, time.Now())
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		o := client.LogOptions{Since: since, Follow: f.follow}
		if f.tail >= 0 {
			o.Tail = &f.tail
		}
		return a.logs(cmd.Context(), c, pod, f, o)
	}
	return cmd
}

// logs prints the logs of one container, or of several: one after the other, or at the same time if they are followed.
func (a *app) logs(ctx context.Context, c *client.Client, pod openapi.Pod, flags logFlags, o client.LogOptions) error {
	names := flags.containers
	if flags.all {
		for _, container := range slices.Concat(openapi.Value(pod.Spec.InitContainers), pod.Spec.Containers) {
			names = append(names, container.Name)
		}
	}
	if len(names) == 0 {
		names = []string{""} // the only one
	}
	var out sync.Mutex
	errs := make([]error, len(names))
	interrupted := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read := func(i int, name string) {
		p := print.Lines{Mu: &out, Out: a.out, Errs: a.errs, Timestamps: flags.timestamps}
		if len(names) > 1 {
			p.Prefix = "[" + print.Clean(name) + "] "
		}
		o := o
		o.Container = name
		for line, err := range c.Pods.Logs(ctx, pod.ID, o) {
			if err != nil {
				if ctx.Err() == nil || interrupted.Err() != nil { // otherwise stop was called, because the output failed
					errs[i] = err
				}
				return
			}
			if errs[i] = p.Print(line); errs[i] != nil {
				stop() // nobody reads the output any more
				return
			}
		}
		errs[i] = p.End()
	}
	if !flags.follow {
		for i, name := range names {
			read(i, name)
		}
		return errors.Join(errs...)
	}
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { read(i, name) })
	}
	all.Wait()
	if err := interrupted.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}
