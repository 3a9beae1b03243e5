package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func logsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "logs POD [CONTAINER]",
		Aliases: []string{"log"},
		Short:   "Print the log of a container",
		Example: `  husk logs web
  husk logs -f --tail 20 --timestamps web -c nginx`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeNames("pod"),
	}
	fs := cmd.Flags()
	follow := fs.BoolP("follow", "f", false, "go on with new lines until the container has ended")
	tail := fs.Int("tail", -1, "only the last so many lines (default: all)")
	timestamps := fs.BoolP("timestamps", "t", false, "put the time before each line")
	container := fs.StringP("container", "c", "", "which container; may be left out when the pod has one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 2 {
			if *container != "" && *container != args[1] {
				return usagef("the container is named twice, %q and %q", args[1], *container)
			}
			*container = args[1]
		}
		if cmd.Flags().Changed("tail") && *tail < 0 {
			return usagef("--tail: %d is below 0", *tail)
		}
		if *tail < 0 {
			tail = nil
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, bare("pod", args[0]))
		if err != nil {
			return err
		}
		if *follow {
			f := follower{pod: pod, container: given(*container), tail: tail, print: a.printLine(*timestamps)}
			_, err := f.toTheEnd(cmd.Context(), c)
			if f.read && isNotFound(err) { // deleted while it was followed
				return nil
			}
			return err
		}
		return a.printLog(cmd.Context(), c, pod, openapi.GetPodLogsParams{Container: given(*container), Tail: tail, Timestamps: timestamps})
	}
	return cmd
}

// printLine prints both streams of a container on one, as a log has them.
func (a *app) printLine(timestamps bool) func(logLine) error {
	whole := true
	return func(l logLine) error {
		text := l.text()
		if timestamps && whole {
			text = l.Time.UTC().Format(time.RFC3339Nano) + " " + text
		}
		whole = !l.Partial
		_, err := io.WriteString(a.out, text)
		return err
	}
}

func (a *app) printLog(ctx context.Context, c *openapi.Client, pod openapi.Pod, params openapi.GetPodLogsParams) error {
	resp, err := c.GetPodLogs(ctx, pod.ID, &params)
	if err := checked(resp, err); err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(a.out, resp.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the log of pod %s broke off: %w", pod.Name, err)
	}
	return nil
}
