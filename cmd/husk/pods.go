package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
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

func podsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pods",
		Short: "List pods, or watch them",
		Args:  cobra.NoArgs,
	}
	output := outputFlag(cmd, "table")
	watch := cmd.Flags().BoolP("watch", "w", false, "go on with every change")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		if *watch {
			return watchPods(cmd.Context(), c, cmd.OutOrStdout(), format)
		}
		pods, err := listPods(cmd.Context(), c, nil)
		if err != nil {
			return err
		}
		return podView.show(cmd.OutOrStdout(), format, pods)
	}
	return cmd
}

func podCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pod NAME|ID",
		Short: "Show everything about one pod",
		Args:  cobra.ExactArgs(1),
	}
	output := outputFlag(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if format == "text" {
			return describePod(cmd.OutOrStdout(), pod)
		}
		return podView.one(cmd.OutOrStdout(), format, pod)
	}
	return cmd
}

// describePod prints what a person wants to know of a pod, and above all why it does not run.
func describePod(w io.Writer, p openapi.Pod) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, clean(text))
		}
	}
	line("Name:", p.Name)
	line("ID:", p.ID.String())
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
		fmt.Fprintln(t)
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
	return t.Flush()
}
