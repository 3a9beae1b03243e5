package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

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
		Long: `Print the log of a container, or of several, each line of which then has its
container before it. A log that is followed ends when its container has ended for
good; one that breaks off is opened again, and goes on behind the last line that
was printed.`,
		Example: `  husk logs web
  husk logs -f --tail 20 --timestamps web -c nginx
  husk logs -f --since 10m --all-containers web`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeNames("pod"),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&f.follow, "follow", "f", false, "go on with new lines until the container has ended")
	fs.IntVar(&f.tail, "tail", -1, "only the last so many lines of each container (default: all)")
	fs.BoolVarP(&f.timestamps, "timestamps", "t", false, "put the time before each line")
	fs.StringVar(&f.since, "since", "", "only lines since a time, such as 2026-03-02T09:00:00Z, or of the last so long, such as 10m")
	fs.StringArrayVarP(&f.containers, "container", "c", nil, "which container; may be left out when the pod has one, and repeated")
	fs.BoolVar(&f.all, "all-containers", false, "all containers of the pod")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.containers = append(f.containers, args[1:]...)
		if cmd.Flags().Changed("tail") && f.tail < 0 {
			return usagef("--tail: %d is below 0", f.tail)
		}
		if f.all && len(f.containers) > 0 {
			return usagef("--all-containers is given, and so is the container %q", f.containers[0])
		}
		since, err := parseSince(f.since, time.Now())
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, bare("pod", args[0]))
		if err != nil {
			return err
		}
		return a.logs(cmd.Context(), c, pod, f, since)
	}
	return cmd
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return &t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return new(now.Add(-d)), nil
	}
	return nil, usagef("--since: %q is neither a time such as 2026-03-02T09:00:00Z nor a duration such as 10m", text)
}

// logs prints the logs of one container, or of several beside each other.
func (a *app) logs(ctx context.Context, c *openapi.Client, pod openapi.Pod, flags logFlags, since *time.Time) error {
	names := flags.containers
	if flags.all {
		for _, container := range pod.Spec.Containers {
			names = append(names, container.Name)
		}
	}
	if len(names) == 0 {
		names = []string{""} // the one that there is
	}
	var out sync.Mutex
	errs := make([]error, len(names))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read := func(i int, name string) {
		p := linePrinter{mu: &out, out: a.out, timestamps: flags.timestamps}
		if len(names) > 1 {
			p.prefix = "[" + clean(name) + "] "
		}
		f := follower{pod: pod, container: given(name), since: since, print: p.print}
		if flags.tail >= 0 {
			f.tail = &flags.tail
		}
		if flags.follow {
			_, errs[i] = f.toTheEnd(ctx, c)
			if f.read && isNotFound(errs[i]) { // deleted while it was followed
				errs[i] = nil
			}
		} else if errs[i] = f.once(ctx, c, false); errs[i] != nil {
			if broken, ok := errors.AsType[printError](errs[i]); ok {
				errs[i] = broken.error
			}
		}
		if _, unwritable := errors.AsType[printError](errs[i]); unwritable {
			stop()
		}
	}
	if !flags.follow { // one after the other
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
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// longestLine is how much of a line is kept back so that it is printed whole among others', in bytes.
const longestLine = 256 << 10

// linePrinter prints both streams of a container on one, as a log has them.
type linePrinter struct {
	mu         *sync.Mutex
	out        io.Writer
	prefix     string
	timestamps bool
	held       string // the beginning of a line, whose end is still to come
	within     bool   // a line was begun
}

func (p *linePrinter) print(l logLine) error {
	if !p.within {
		p.held = p.prefix
		if p.timestamps {
			p.held += l.Time.UTC().Format(time.RFC3339Nano) + " "
		}
	}
	p.held += l.text()
	p.within = l.Partial
	if l.Partial && p.prefix != "" && len(p.held) < longestLine {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(p.out, p.held)
	p.held = ""
	return err
}
