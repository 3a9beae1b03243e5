// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk"
	"husk/cli/addresses"
	"husk/cli/attend"
	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/cli/terminal"
	"husk/client"
	"husk/openapi"
)

type runFlags struct {
	parse.Pod

	wait, keys     string
	publish        []string
	secrets        []string // with logins for registries
	remove, detach bool
	timeout        time.Duration
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [ARG…]",
		Short: "Create a pod with one container, and follow its output",
		Long: `Create a pod with one container, and follow its output until it ends. husk then
exits with the exit code of the container. Ctrl-C leaves the pod running, unless
--rm is given. The container starts when husk is attached to it, so its output is
complete. If the connection is lost, the rest comes from the log. If output is
missing there, husk prints how much, and exits with 1.

IMAGE is a reference or the ID of an imported image. A reference that has not
been imported yet is imported first. Everything after IMAGE goes to the container
and replaces the arguments of the image, so flags of husk come before IMAGE. A --
directly after IMAGE is ignored.

With -i, husk sends its standard input to the container, until end of file. With
-it, the container also gets a terminal, and husk connects it to yours. Ctrl-P
Ctrl-Q detaches: the pod continues, even with --rm. To attach again, use husk
attach -it.

With -d, husk prints the pod's name and does not wait. With --wait, husk waits
until the pod is running. With --wait=succeeded, it waits until the pod has
succeeded. It then prints the pod's name.`,
		Example: `  husk run --rm registry.example.com/busybox:1 echo hello
  husk run -it --rm registry.example.com/busybox:1 sh
  husk run -i --rm registry.example.com/busybox:1 gzip < notes > notes.gz
  husk run -d --name web -m 256m -p 80:8080 --restart always registry.example.com/nginx:1.22
  husk run --wait -v data:/var/lib/postgresql -e POSTGRES_PASSWORD registry.example.com/postgres:15`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no image given; add a reference or the ID of an imported image")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.offers().Named(cmd, "image"), cobra.ShellCompDirectiveNoFileComp
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // everything after the image is for the container
	f.AddTo(fs)
	fs.StringArrayVarP(&f.publish, "publish", "p", nil, "port that others outside reach, PORT:POD-PORT[/udp], at a floating address that is deleted with the pod; may be repeated")
	fs.StringArrayVar(&f.secrets, "registry-secret", nil, "import the image with the logins in this secret; may be repeated")
	fs.BoolVar(&f.remove, "rm", false, "delete the pod when it has ended, and on Ctrl-C")
	fs.BoolVarP(&f.detach, "detach", "d", false, "print the pod's name and do not wait for the pod")
	fs.StringVar(&f.wait, "wait", "", "wait until the pod is running or has succeeded, and print its name")
	fs.Lookup("wait").NoOptDefVal = "running"
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "maximum time to wait for the image, and then for the pod")
	addDetachKeys(cmd, &f.keys)
	// Without this line, Docker's -h NAME would be a request for help, which succeeds.
	fs.Bool("help", false, "help for run")
	cmd.SetFlagErrorFunc(parse.Counterpart)
	complete.Words(cmd, "restart", "no", "on-failure", "on-failure:3", "always")
	complete.Words(cmd, "wait", "running", "succeeded")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		if p.Format != "text" && !f.unattended() {
			return exit.Usagef("--output requires -d or --wait; otherwise husk prints the output of the container")
		}
		if !f.unattended() {
			f.Terminal = a.hasTerminal(f.Terminal, f.Interactive, "the container")
		}
		ports := openapi.AddressPorts{}
		for _, text := range f.publish {
			port, err := parse.Published("--publish", text, false)
			if err != nil {
				return err
			}
			ports = append(ports, port)
		}
		pod, mounts, err := f.Create(args[0], args[1:], !f.unattended())
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		return (&runner{a, c, f, ports}).run(cmd.Context(), pod, mounts, p)
	}
	return cmd
}

// unattended reports whether husk does not follow the pod to its end.
func (f runFlags) unattended() bool { return f.detach || f.wait != "" }

// check refuses flags that contradict each other.
func (f runFlags) check() error {
	switch {
	case f.wait != "" && f.wait != "running" && f.wait != "succeeded":
		return exit.Usagef("--wait: %q is not running or succeeded", f.wait)
	case f.remove && f.unattended() && f.wait != "succeeded":
		return exit.Usagef("--rm: husk does not wait for the pod's end, so it cannot delete the pod; leave -d and --wait out, or use --wait=succeeded")
	}
	return checkDetachKeys(f.keys)
}

// runner is one call of husk run.
type runner struct {
	*app

	client *client.Client
	flags  runFlags
	ports  openapi.AddressPorts // to publish
}

// run creates the pod and follows it for as long as the flags say.
func (r *runner) run(ctx context.Context, create openapi.PodCreate, mounts []parse.Mount, p print.Printer) (err error) {
	if err := r.mountVolumes(ctx, &create.Spec, mounts); err != nil {
		return err
	}
	if err := r.haveImage(ctx, r.client, create.Spec.Containers[0].Image, r.flags.secrets, r.flags.timeout); err != nil {
		return err
	}
	published, err := addresses.Reserve(ctx, r.client, create.Name, r.ports)
	if err != nil {
		return fmt.Errorf("--publish: %w", err)
	}
	pod, err := r.client.Pods.Create(ctx, create)
	if client.HasCode(err, husk.CodeUnknownField) && create.Spec.Containers[0].StartOnAttach != nil { // an earlier version of the server
		create.Spec.Containers[0].StartOnAttach = nil
		pod, err = r.client.Pods.Create(ctx, create)
	}
	if err != nil {
		return errors.Join(err, published.Cancel(ctx))
	}
	reached, err := published.Bind(ctx, pod.ID)
	if err != nil {
		return errors.Join(fmt.Errorf("--publish: %w", err), r.removePod(ctx, pod), published.Cancel(ctx))
	}
	for _, at := range reached {
		r.hint("reached from outside at %s", at)
	}
	defer func() {
		switch left, ok := errors.AsType[attend.LeftError](err); {
		case ok:
			r.hint("\n%s is still running; to attach again, run \"husk attach %s%s\"; to delete it, run \"husk delete %s\"", kind.Pods.Ref(pod), left.Flags, pod.Name, kind.Pods.Ref(pod))
			err = left.Why
		case r.flags.remove:
			err = errors.Join(err, r.removePod(ctx, pod))
		case ctx.Err() != nil && !r.flags.detach:
			r.hint("\n%s was not deleted; to follow it, run \"husk logs -f %s\"; to delete it, run \"husk delete %s\"", kind.Pods.Ref(pod), pod.Name, kind.Pods.Ref(pod))
		}
	}()
	if !r.flags.unattended() {
		return attend.Run{
			Client: r.client, Timeout: r.flags.timeout, Interactive: r.flags.Interactive, Terminal: r.flags.Terminal, Out: r.out, Errs: r.errs, Until: r.until,
			Attach: func(ctx context.Context, pod openapi.Pod, o client.AttachOptions, out *attend.Printed) error {
				return r.attach(ctx, r.client, pod, o, r.flags.keys, false, out)
			},
		}.Follow(ctx, pod)
	}
	if r.flags.wait != "" {
		if pod, err = r.waitFor(ctx, pod); err != nil {
			return err
		}
	}
	if p.Format != "text" {
		return kind.Pods.One(p, pod)
	}
	_, err = fmt.Fprintln(p.Out, print.Clean(pod.Name))
	return err
}

// waitFor waits until a pod is running or has succeeded, as --wait says. A pod that has succeeded also counts as running.
func (r *runner) waitFor(ctx context.Context, pod openapi.Pod) (openapi.Pod, error) {
	err := r.until(ctx, r.flags.timeout, kind.Pods.Ref(pod), func() (bool, string, error) {
		var err error
		if pod, err = r.client.Pods.Get(ctx, pod.ID); err != nil {
			return false, "", err
		}
		if pod.Status.UnknownSince != nil {
			return false, print.State(kind.State(pod), openapi.Value(pod.Status.Message)), nil
		}
		switch pod.Status.Phase { //nolint:exhaustive // in all other phases, husk continues to wait
		case openapi.PodPhaseFailed, openapi.PodPhaseStopping:
			return false, "", kind.PodFailed(pod)
		case openapi.PodPhaseSucceeded:
			return true, kind.PodState(pod), nil
		case openapi.PodPhaseRunning:
			return r.flags.wait == "running", kind.PodState(pod), nil
		default:
			return false, print.State(string(pod.Status.Phase), openapi.Value(pod.Status.Message)), nil
		}
	})
	return pod, err
}

// removeTime bounds the deletion of a pod that was run with --rm.
const removeTime = 2 * time.Minute

// removePod deletes the pod, also after an interruption. A second interruption ends the program.
func (r *runner) removePod(ctx context.Context, pod openapi.Pod) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	o := kind.PodObject(r.client, pod)
	if err := o.Delete(ctx); err != nil {
		if client.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("cannot delete %s; to retry, run \"husk delete %s\": %w", o.Ref, o.Ref, err)
	}
	return r.untilGone(ctx, o, removeTime)
}

// volume returns the volume or snapshot of a mount, and its ID.
func (r *runner) volume(ctx context.Context, m parse.Mount) (openapi.PodVolume, uuid.UUID, error) {
	if m.Snapshot {
		s, err := r.client.Snapshots.Find(ctx, m.Volume)
		name := s.Name
		if cut := len(name) - maxVolumeName; cut > 0 { // a volume can have the same name
			name = name[cut:]
		}
		return openapi.PodVolume{Name: "snapshot-" + strings.TrimLeft(name, "-"), SnapshotID: &s.ID}, s.ID, err
	}
	v, err := r.client.Volumes.Find(ctx, m.Volume)
	return openapi.PodVolume{Name: v.Name, VolumeID: &v.ID}, v.ID, err
}

// maxVolumeName is how many characters of a snapshot's name are in the name of the pod's volume, which has up to 63.
const maxVolumeName = 54

// mountVolumes adds the volumes to a pod. One volume may be mounted at several paths.
func (r *runner) mountVolumes(ctx context.Context, spec *openapi.PodSpec, mounts []parse.Mount) error {
	volumes, at := openapi.Value(spec.Volumes), openapi.Value(spec.Containers[0].VolumeMounts) // of --tmpfs
	named := map[uuid.UUID]bool{}
	for _, m := range mounts {
		v, id, err := r.volume(ctx, m)
		if err != nil {
			return err
		}
		if !named[id] {
			named[id] = true
			volumes = append(volumes, v)
		}
		at = append(at, openapi.VolumeMount{Volume: v.Name, MountPath: m.Path, ReadOnly: &m.ReadOnly})
	}
	if len(mounts) > 0 {
		spec.Volumes, spec.Containers[0].VolumeMounts = &volumes, &at
	}
	return nil
}

func addDetachKeys(cmd *cobra.Command, keys *string) {
	cmd.Flags().StringVar(keys, "detach-keys", terminal.DefaultDetachKeys,
		"keys that detach from a container's terminal: characters and ctrl-CHARACTER, separated by commas; empty for none")
}

func checkDetachKeys(keys string) error {
	if _, err := terminal.ParseDetachKeys(keys); err != nil {
		return exit.Usagef("--detach-keys: %w", err)
	}
	return nil
}
