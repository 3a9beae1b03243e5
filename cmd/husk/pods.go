package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var podView = view[openapi.Pod]{
	kind: "pod",
	name: func(p openapi.Pod) string { return p.Name },
	columns: []column[openapi.Pod]{
		{"NAME", false, func(p openapi.Pod) string { return p.Name }},
		{"PHASE", false, func(p openapi.Pod) string { return string(p.Status.Phase) }},
		{"READY", false, func(p openapi.Pod) string { return fmt.Sprintf("%d/%d", running(p), len(p.Spec.Containers)) }},
		{"RESTARTS", false, func(p openapi.Pod) string { return fmt.Sprint(restarts(p)) }},
		{"ADDRESS", false, func(p openapi.Pod) string { return value(p.Status.Address) }},
		{"CPU", false, func(p openapi.Pod) string { return cores(p.Spec.Resources.CPUMillis) }},
		{"MEMORY", false, func(p openapi.Pod) string { return fmt.Sprintf("%dMi", p.Spec.Resources.MemoryMiB) }},
		{"AGE", false, func(p openapi.Pod) string { return age(p.CreatedAt) }},
		{"NODE", true, func(p openapi.Pod) string { return value(p.Status.NodeName) }},
		{"LABELS", true, func(p openapi.Pod) string { return labelsText(p.Labels) }},
		{"ID", true, func(p openapi.Pod) string { return p.ID.String() }},
		{"IMAGES", true, func(p openapi.Pod) string {
			var refs []string
			for _, c := range p.Spec.Containers {
				refs = append(refs, c.Image)
			}
			return strings.Join(refs, ",")
		}},
		{"MESSAGE", true, func(p openapi.Pod) string { return value(p.Status.Message) }},
	},
}

func running(p openapi.Pod) int {
	n := 0
	for _, c := range p.Status.Containers {
		if c.State == openapi.ContainerStatusStateRunning {
			n++
		}
	}
	return n
}

// restarts counts those of the containers and of the machine.
func restarts(p openapi.Pod) int {
	n := value(p.Status.Restarts)
	for _, c := range p.Status.Containers {
		n += c.Restarts
	}
	return n
}

// cores writes thousandths of a core as people type them.
func cores(millis int) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%03d", millis/1000, millis%1000), "0"), ".")
}

var pods = resource[openapi.Pod]{
	view: podView, plural: "pods", aliases: []string{"po"}, short: "List pods, or watch them", labels: true,
	id:     func(p openapi.Pod) string { return p.ID.String() },
	find:   findPod,
	ifNone: "husk run IMAGE orders one",
	list: func(ctx context.Context, c *openapi.Client, q query) ([]openapi.Pod, error) {
		return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
			return c.ListPods(ctx, &openapi.ListPodsParams{Limit: &pageSize, Cursor: cursor, LabelSelector: q.selector})
		}, func(l openapi.PodList) ([]openapi.Pod, *string) { return l.Items, l.NextCursor })
	},
	watch: func(ctx context.Context, c *openapi.Client, q query) (*http.Response, error) {
		yes := true
		return c.ListPods(ctx, &openapi.ListPodsParams{Watch: &yes, LabelSelector: q.selector})
	},
}

func podsCommand(a *app) *cobra.Command { return listCommand(a, pods) }

func podCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "pod NAME|ID",
		Aliases:           []string{"describe", "inspect"},
		Short:             "Show everything about one pod, and what happened to it",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeNames("pod"),
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(args) == 2 { // husk describe pod web
			if kind, _ := kindOf(args[0]); kind != "pod" {
				return usagef("one pod is needed; %q is not a kind that can be described", args[0])
			}
			args = args[1:]
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, bare("pod", args[0]))
		if err != nil {
			return err
		}
		if p.format != "text" {
			return podView.one(p, pod)
		}
		happened, err := listEvents(cmd.Context(), c, &openapi.ListEventsParams{ObjectID: &pod.ID})
		if err != nil {
			return err
		}
		return describePod(p.out, pod, happened)
	}
	return cmd
}

// describePod prints what a person wants to know of a pod, and above all why it does not run.
func describePod(w io.Writer, p openapi.Pod, happened []openapi.Event) error {
	var f facts
	line := f.add
	line("Name:", p.Name)
	line("ID:", p.ID.String())
	line("Labels:", labelsText(p.Labels))
	line("Phase:", string(p.Status.Phase))
	line("Reason:", value(p.Status.Reason))
	line("Message:", value(p.Status.Message))
	line("Address:", value(p.Status.Address))
	line("Node:", value(p.Status.NodeName))
	line("Size:", fmt.Sprintf("%s cores, %d MiB, and %d MiB for its monitor", cores(p.Spec.Resources.CPUMillis), p.Spec.Resources.MemoryMiB, p.Status.VmmOverheadMiB))
	line("Restart policy:", string(value(p.Spec.RestartPolicy)))
	line("Created:", p.CreatedAt.Format(time.RFC3339)+", "+age(p.CreatedAt)+" ago")
	for _, v := range value(p.Spec.Volumes) {
		line("Volume "+v.Name+":", v.VolumeID.String())
	}
	states := map[string]openapi.ContainerStatus{}
	for _, s := range p.Status.Containers {
		states[s.Name] = s
	}
	for _, c := range p.Spec.Containers {
		f.gap()
		line("Container "+c.Name+":", c.Image)
		line("  Command:", strings.Join(append(value(c.Command), value(c.Args)...), " "))
		s := states[c.Name]
		line("  State:", string(s.State))
		if s.ExitCode != nil {
			line("  Exit code:", fmt.Sprint(*s.ExitCode))
		}
		line("  Reason:", value(s.Reason))
		line("  Message:", value(s.Message))
		line("  Restarts:", fmt.Sprint(s.Restarts))
		for _, m := range value(c.VolumeMounts) {
			mode := ""
			if value(m.ReadOnly) {
				mode = ", read-only"
			}
			line("  Mount:", m.Volume+" at "+m.MountPath+mode)
		}
	}
	if len(happened) > 0 {
		f.gap()
	}
	for _, e := range happened {
		line(e.At.Format(time.RFC3339), state(e.Reason, e.Message))
	}
	return f.print(w)
}

// labelsText writes labels as people select them.
func labelsText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}
