// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
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
	labeled                 string      // the name of the pod, if it is one of several
	writing                 *sync.Mutex // shared by these
	tail                    int
	since                   string
	containers              []string
}

func logsCommand(a *app) *cobra.Command {
	var f logFlags
	var tail, selector string
	var previous bool // users of kubectl give it
	cmd := &cobra.Command{
		Use:     "logs {POD [CONTAINER…] | -l LABELS}",
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
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.offers().Names("pod"),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&f.follow, "follow", "f", false, "keep printing new lines until the container has ended and is not restarted")
	fs.StringVarP(&tail, "tail", "n", "all", "number of lines to print from the end of each log")
	fs.BoolVarP(&previous, "previous", "p", false, "also print the output before the last restart, which the log always has")
	fs.StringVarP(&selector, "selector", "l", "", "print the logs of all pods with these labels, such as app=web")
	fs.BoolVarP(&f.timestamps, "timestamps", "t", false, "print the time before each line")
	fs.StringVar(&f.since, "since", "", "print only lines since a time (2026-03-02T09:00:00Z) or a duration ago (10m)")
	fs.StringArrayVarP(&f.containers, "container", "c", nil, "container name; optional if the pod has only one container; may be repeated")
	fs.BoolVar(&f.all, "all-containers", false, "print the logs of all containers of the pod")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (selector == "") {
			return exit.Usagef("give the name of a pod, or labels with -l")
		}
		if len(args) > 0 {
			f.containers = append(f.containers, args[1:]...)
		}
		f.tail = -1
		if tail != "all" {
			n, err := strconv.Atoi(tail)
			if err != nil || n < 0 {
				return exit.Usagef("--tail: %q is neither a number of lines nor all", tail)
			}
			f.tail = n
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
		o := client.LogOptions{Since: since, Follow: f.follow}
		if f.tail >= 0 {
			o.Tail = &f.tail
		}
		if selector != "" {
			return a.logsOf(cmd.Context(), c, selector, f, o)
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		return a.logs(cmd.Context(), c, pod, f, o)
	}
	return cmd
}

// logsOf prints the logs of pods with these labels, one after the other, or at the same time if they are followed.
func (a *app) logsOf(ctx context.Context, c *client.Client, selector string, flags logFlags, o client.LogOptions) error {
	pods, err := client.Collect(c.Pods.List(ctx, client.Select{Labels: selector}))
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		a.hint("no pods match these labels")
	}
	errs := make([]error, len(pods))
	flags.writing = new(sync.Mutex)
	flags.all = len(flags.containers) == 0
	var all sync.WaitGroup
	for i, pod := range pods {
		if flags.labeled = pod.Name; !flags.follow {
			errs[i] = a.logs(ctx, c, pod, flags, o)
			continue
		}
		of := flags
		all.Go(func() { errs[i] = a.logs(ctx, c, pod, of, o) })
	}
	all.Wait()
	return errors.Join(errs...)
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
	out := flags.writing
	if out == nil {
		out = new(sync.Mutex)
	}
	errs := make([]error, len(names))
	interrupted := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read := func(i int, name string) {
		p := print.Lines{Mu: out, Out: a.out, Errs: a.errs, Timestamps: flags.timestamps}
		switch {
		case flags.labeled != "":
			p.Prefix = "[" + print.Clean(flags.labeled+"/"+name) + "] "
		case len(names) > 1:
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
