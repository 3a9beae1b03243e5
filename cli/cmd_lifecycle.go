// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/client"
	"husk/openapi"
)

// changeTime is how long --wait waits for a pod by default.
const changeTime = 5 * time.Minute

// podVerb makes a command that does something to pods, one after the other.
func podVerb(a *app, cmd *cobra.Command, goal openapi.PodPhase, do func(ctx context.Context, c *client.Client, id uuid.UUID) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = cobra.MinimumNArgs(1), a.offers().Names("pod")
	wait, timeout := new(bool), new(time.Duration)
	if goal != "" {
		cmd.Flags().BoolVar(wait, "wait", false, "wait until the pod is "+string(goal))
		cmd.Flags().DurationVar(timeout, "timeout", changeTime, "how long --wait waits for each pod")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		var failures []error
		for _, name := range kind.BareNames("pod", args) {
			if err := onePod(cmd.Context(), a, c, name, goal, *wait, *timeout, do); err != nil {
				failures = append(failures, err)
			}
		}
		return errors.Join(failures...)
	}
	return cmd
}

func onePod(ctx context.Context, a *app, c *client.Client, name string, goal openapi.PodPhase, wait bool, timeout time.Duration,
	do func(ctx context.Context, c *client.Client, id uuid.UUID) error,
) error {
	pod, err := c.Pods.Find(ctx, name)
	if err != nil {
		return err
	}
	if err := do(ctx, c, pod.ID); err != nil {
		return err
	}
	if wait {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if _, err := c.Pods.Wait(ctx, pod.ID, func(p openapi.Pod) (bool, error) {
			ended := goal == openapi.PodPhaseStopped && (p.Status.Phase == openapi.PodPhaseSucceeded || p.Status.Phase == openapi.PodPhaseFailed)
			return (p.Status.Phase == goal || ended) && p.Status.UnknownSince == nil, nil
		}); err != nil {
			return err
		}
	}
	_, err = a.out.Write([]byte(pod.Name + "\n"))
	return err
}

func lifecycleCommands(a *app) []*cobra.Command {
	start := podVerb(a, &cobra.Command{
		Use: "start POD…", Short: "Start pods that are stopped or have ended", Example: "  husk start web",
	}, openapi.PodPhaseRunning, func(ctx context.Context, c *client.Client, id uuid.UUID) error {
		_, err := c.Pods.Start(ctx, id)
		return err
	})
	stop := podVerb(a, &cobra.Command{
		Use: "stop POD…", Short: "Stop pods until they are started",
		Long: `Stop pods until they are started. A stopped pod keeps its name, its address and
its volumes. It uses no cpu and memory, and starts again with new containers.`,
		Example: "  husk stop web --wait",
	}, openapi.PodPhaseStopped, func(ctx context.Context, c *client.Client, id uuid.UUID) error {
		_, err := c.Pods.Stop(ctx, id)
		return err
	})
	restart := podVerb(a, &cobra.Command{
		Use: "restart POD…", Short: "Stop pods and start them again", Example: "  husk restart web --wait",
	}, openapi.PodPhaseRunning, func(ctx context.Context, c *client.Client, id uuid.UUID) error {
		_, err := c.Pods.Restart(ctx, id)
		return err
	})
	var signal, container string
	kill := podVerb(a, &cobra.Command{
		Use: "kill POD…", Short: "Send a signal to a container of pods",
		Long: `Send a signal to a container of pods. SIGKILL ends the whole container; what
happens then is up to the pod's restart policy. To stop the pod, use husk stop.`,
		Example: "  husk kill web --signal HUP",
	}, "", func(ctx context.Context, c *client.Client, id uuid.UUID) error {
		return c.Pods.Kill(ctx, id, container, strings.ToUpper(signal))
	})
	kill.Flags().StringVarP(&signal, "signal", "s", "SIGKILL", "the signal, such as HUP or 1")
	kill.Flags().StringVarP(&container, "container", "c", "", "container; may be left out if the pod has only one")
	return []*cobra.Command{start, stop, restart, kill, a.moving().Resize(a.offers().Names("pod")), labelCommand(a), renameCommand(a)}
}

func renameCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rename POD NAME", Short: "Give a pod another name", Example: "  husk rename web web-old",
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.offers().Names("pod"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			pod, err := c.Pods.Find(cmd.Context(), kind.Bare("pod", args[0]))
			if err != nil {
				return err
			}
			_, err = c.Pods.Update(cmd.Context(), pod.ID, openapi.PodUpdate{Name: &args[1]})
			return err
		},
	}
}

func labelCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "label POD NAME=VALUE… NAME-…", Short: "Change the labels of a pod", Example: "  husk label web tier=front old-",
		Long: `Change the labels of a pod. NAME- removes a label. With --annotation, annotations
are changed instead.`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.offers().Names("pod"),
	}
	annotations := cmd.Flags().Bool("annotation", false, "change annotations instead of labels")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change := map[string]*string{}
		for _, arg := range args[1:] {
			name, value, isSet := strings.Cut(arg, "=")
			old, isRemoval := strings.CutSuffix(arg, "-")
			switch {
			case isSet && name != "":
				change[name] = &value
			case isRemoval && old != "":
				change[old] = nil
			default:
				return exit.Usagef("%q is neither NAME=VALUE nor NAME-", arg)
			}
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := c.Pods.Find(cmd.Context(), kind.Bare("pod", args[0]))
		if err != nil {
			return err
		}
		update := openapi.PodUpdate{Labels: (*openapi.LabelChanges)(&change)}
		if *annotations {
			update = openapi.PodUpdate{Annotations: &change}
		}
		_, err = c.Pods.Update(cmd.Context(), pod.ID, update)
		return err
	}
	return cmd
}
