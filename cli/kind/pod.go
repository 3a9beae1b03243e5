// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Pods are virtual machines that run containers.
var Pods = Kind[openapi.Pod]{
	View: print.View[openapi.Pod]{
		Kind: "pod", Document: "Pod",
		Name: func(p openapi.Pod) string { return p.Name },
		Columns: []print.Column[openapi.Pod]{
			print.Col("NAME", func(p openapi.Pod) string { return p.Name }),
			print.Col("STATE", State),
			print.Col("READY", func(p openapi.Pod) string { return fmt.Sprintf("%d/%d", ready(p), expected(p)) }),
			print.Col("RESTARTS", func(p openapi.Pod) string { return fmt.Sprint(restarts(p)) }),
			print.Col("ADDRESS", func(p openapi.Pod) string { return openapi.Value(p.Status.Address) }),
			print.Col("OUTSIDE", outside),
			print.Col("CPU", func(p openapi.Pod) string { return print.Cores(p.Spec.Resources.CPUMillis) }),
			print.Col("MEMORY", func(p openapi.Pod) string { return fmt.Sprintf("%dMi", p.Spec.Resources.MemoryMiB) }),
			print.Col("AGE", func(p openapi.Pod) string { return print.Age(p.CreatedAt) }),
			print.WideCol("NODE", func(p openapi.Pod) string { return openapi.Value(p.Status.NodeName) }),
			print.WideCol("LABELS", func(p openapi.Pod) string { return print.Labels(p.Labels) }),
			print.WideCol("ID", func(p openapi.Pod) string { return p.ID.String() }),
			print.WideCol("IMAGES", func(p openapi.Pod) string {
				var refs []string
				for _, c := range p.Spec.Containers {
					refs = append(refs, c.Image)
				}
				return strings.Join(refs, ",")
			}),
			print.WideCol("MESSAGE", func(p openapi.Pod) string { return openapi.Value(p.Status.Message) }),
		},
	},
	Plural: "pods", Aliases: []string{"po"}, Short: "List or watch pods", Labels: true,
	ID:     func(p openapi.Pod) string { return p.ID.String() },
	Find:   FindPod,
	IfNone: "to create one, run \"husk run IMAGE\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Pod, error] {
		return c.Pods.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Pod], error] {
		return c.Pods.Watch(ctx, o)
	},
}

// lasting are the names of the containers that have to be ready: not those that run before the others.
func lasting(p openapi.Pod) map[string]bool {
	names := map[string]bool{}
	for _, c := range p.Spec.Containers {
		names[c.Name] = true
	}
	for _, c := range openapi.Value(p.Spec.InitContainers) {
		if openapi.Value(c.RestartPolicy) == openapi.Always {
			names[c.Name] = true
		}
	}
	return names
}

func expected(p openapi.Pod) int { return len(lasting(p)) }

// ready counts the containers that are ready. An agent of an earlier version does not say which are.
func ready(p openapi.Pod) int {
	n, names := 0, lasting(p)
	for _, c := range p.Status.Containers {
		if names[c.Name] && c.State == openapi.ContainerStatusStateRunning && (c.Ready == nil || *c.Ready) {
			n++
		}
	}
	return n
}

// restarts counts the restarts of the containers and of the virtual machine.
func restarts(p openapi.Pod) int {
	n := openapi.Value(p.Status.Restarts)
	for _, c := range p.Status.Containers {
		n += c.Restarts
	}
	return n
}

// FindPod finds a pod by its name or ID, with or without the prefix pod/.
func FindPod(ctx context.Context, c *client.Client, name string) (openapi.Pod, error) {
	return c.Pods.Find(ctx, Bare("pod", name))
}

// emptyDir describes an empty directory.
func emptyDir(d openapi.EmptyDir) string {
	text := "empty directory"
	if openapi.Value(d.Memory) {
		text += " in memory"
	}
	if d.SizeMiB != nil {
		text += fmt.Sprintf(", up to %d MiB", *d.SizeMiB)
	}
	return text
}

// storage says where containers keep what they write outside of volumes.
func storage(s openapi.PodSpec) string {
	switch {
	case s.EphemeralStorage != nil && *s.EphemeralStorage == openapi.Memory:
		return "in memory"
	case s.EphemeralStorageGiB != nil:
		return fmt.Sprintf("%d GiB", *s.EphemeralStorageGiB)
	default:
		return "10 GiB"
	}
}

func describeNames(line func(string, string), s openapi.PodSpec) {
	line("Host name:", openapi.Value(s.Hostname))
	for _, a := range openapi.Value(s.HostAliases) {
		line("Host alias:", a.IP+" "+strings.Join(a.Hostnames, " "))
	}
	if c := s.DNSConfig; c != nil {
		line("Name servers:", strings.Join(openapi.Value(c.Nameservers), ", "))
		line("Search domains:", strings.Join(openapi.Value(c.Searches), ", "))
	}
	for _, k := range openapi.Value(s.Sysctls) {
		line("Sysctl:", k.Name+"="+k.Value)
	}
}

// DescribePod prints the details of a pod, such as why it is not running.
func DescribePod(w io.Writer, p openapi.Pod, happened []openapi.Event) error {
	var f print.Facts
	line := f.Add
	line("Name:", p.Name)
	line("ID:", p.ID.String())
	line("Labels:", print.Labels(p.Labels))
	line("Phase:", string(p.Status.Phase))
	line("Reason:", openapi.Value(p.Status.Reason))
	line("Message:", openapi.Value(p.Status.Message))
	line("Address:", openapi.Value(p.Status.Address))
	line("Outside address:", outside(p))
	line("Security groups:", strings.Join(openapi.Value(p.Spec.SecurityGroups), ", "))
	line("Node:", openapi.Value(p.Status.NodeName))
	line("Size:", fmt.Sprintf("%s cores, %d MiB, and %d MiB for its kernel and the hypervisor", print.Cores(p.Spec.Resources.CPUMillis), p.Spec.Resources.MemoryMiB, p.Status.VmmOverheadMiB))
	line("Ephemeral storage:", storage(p.Spec))
	describeNames(line, p.Spec)
	if shm := p.Spec.ShmSizeMiB; shm != nil {
		line("Shared memory:", fmt.Sprintf("up to %d MiB", *shm))
	}
	line("Restart policy:", string(openapi.Value(p.Spec.RestartPolicy)))
	line("Created:", p.CreatedAt.Format(time.RFC3339)+", "+print.Age(p.CreatedAt)+" ago")
	for _, v := range openapi.Value(p.Spec.Volumes) {
		switch {
		case v.SnapshotID != nil:
			line("Snapshot "+v.Name+":", v.SnapshotID.String())
		case v.VolumeID != nil:
			line("Volume "+v.Name+":", v.VolumeID.String())
		case v.Config != nil:
			line("Volume "+v.Name+":", "config "+v.Config.Name)
		case v.Secret != nil:
			line("Volume "+v.Name+":", "secret "+v.Secret.Name)
		case v.Projected != nil:
			line("Volume "+v.Name+":", fmt.Sprintf("files from %d sources", len(*v.Projected)))
		case v.EmptyDir != nil:
			line("Volume "+v.Name+":", emptyDir(*v.EmptyDir))
		}
	}
	states := map[string]openapi.ContainerStatus{}
	for _, s := range p.Status.Containers {
		states[s.Name] = s
	}
	if d := p.Spec.ActiveDeadlineSeconds; d != nil {
		line("Deadline:", fmt.Sprintf("%d s after the start", *d))
	}
	if ttl := p.Spec.TTLSecondsAfterFinished; ttl != nil {
		line("Deleted:", fmt.Sprintf("%d s after the end", *ttl))
	}
	initial := openapi.Value(p.Spec.InitContainers)
	for i, c := range slices.Concat(initial, p.Spec.Containers) {
		f.Gap()
		title := "Container "
		switch {
		case i < len(initial) && openapi.Value(c.RestartPolicy) == openapi.Always:
			title = "Sidecar "
		case i < len(initial):
			title = "Init container "
		}
		line(title+c.Name+":", c.Image)
		line("  Command:", strings.Join(append(openapi.Value(c.Command), openapi.Value(c.Args)...), " "))
		s := states[c.Name]
		line("  State:", string(s.State))
		if s.ExitCode != nil {
			line("  Exit code:", fmt.Sprint(*s.ExitCode))
		}
		line("  Reason:", openapi.Value(s.Reason))
		line("  Message:", openapi.Value(s.Message))
		line("  Last end:", openapi.Value(s.LastReason))
		if s.NextStartAt != nil {
			line("  Next start:", s.NextStartAt.Format(time.RFC3339))
		}
		if s.Ready != nil {
			line("  Ready:", strconv.FormatBool(*s.Ready))
		}
		line("  Restarts:", fmt.Sprint(s.Restarts))
		for _, o := range Options(c) {
			line("  "+o[0]+":", o[1])
		}
		for _, m := range openapi.Value(c.VolumeMounts) {
			mode := ""
			if openapi.Value(m.ReadOnly) {
				mode = ", read-only"
			}
			line("  Mount:", m.Volume+" at "+m.MountPath+mode)
		}
	}
	if len(happened) > 0 {
		f.Gap()
	}
	for _, e := range happened {
		line(e.At.Format(time.RFC3339), print.State(e.Reason, openapi.Value(e.Message)))
	}
	return f.Print(w)
}
