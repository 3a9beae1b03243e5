package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

type runFlags struct {
	name, cpus, memory, restart, user, workdir string
	env, volumes                               []string
	wait                                       bool
	timeout                                    time.Duration
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run IMAGE [-- COMMAND ARG…]",
		Short: "Order a pod of one container",
		Long: `Order a pod of one container. IMAGE is a reference or the id of an imported image; a reference that was not imported yet is
imported first. What stands behind -- replaces the image's entrypoint and command.`,
		Example: `  husk run registry.example.com/nginx:1.22 --name web -m 256Mi --wait
  husk run registry.example.com/postgres:15 -v data:/var/lib/postgresql -e POSTGRES_PASSWORD
  husk run registry.example.com/busybox:1 --restart Never -- sh -c 'echo hello'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if images := cmd.ArgsLenAtDash(); images != 1 && (images != -1 || len(args) != 1) {
				return errors.New("one image is needed, and -- before a command")
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.name, "name", "", "name of the pod (default: made from the image's)")
	fs.StringVar(&f.cpus, "cpus", "0.5", "cores, such as 0.5 or 500m")
	fs.StringVarP(&f.memory, "memory", "m", "256Mi", "memory of the virtual machine, its kernel included")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "NAME=VALUE; NAME alone passes this environment's value on; may be repeated")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "VOLUME:/path or VOLUME:/path:ro; may be repeated")
	fs.StringVar(&f.restart, "restart", "Always", "Always, OnFailure or Never")
	fs.StringVar(&f.user, "user", "", "user or user:group (default: the image's)")
	fs.StringVar(&f.workdir, "workdir", "", "working directory (default: the image's)")
	fs.BoolVar(&f.wait, "wait", false, "wait until the pod runs or has ended")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait, for the image and for the pod each")
	output := outputFlag(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		order, mounts, err := f.order(args[0], args[1:])
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		pod, err := f.run(cmd.Context(), c, order, mounts, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if format == "text" {
			fmt.Fprintf(cmd.OutOrStdout(), "pod %s is %s\n", pod.Name, describePhase(pod))
			return nil
		}
		return podView.one(cmd.OutOrStdout(), format, pod)
	}
	return cmd
}

// order makes the order out of the command line; the volumes are still names.
func (f runFlags) order(image string, command []string) (openapi.PodCreate, []mount, error) {
	fail := func(err error) (openapi.PodCreate, []mount, error) { return openapi.PodCreate{}, nil, err }
	cpu, err := parseCPU(f.cpus)
	if err != nil {
		return fail(err)
	}
	memory, err := parseSize("--memory", f.memory, "Mi")
	if err != nil {
		return fail(err)
	}
	env, err := parseEnv(f.env)
	if err != nil {
		return fail(err)
	}
	mounts, err := parseMounts(f.volumes)
	if err != nil {
		return fail(err)
	}
	policy, err := parseRestart(f.restart)
	if err != nil {
		return fail(err)
	}
	container := openapi.Container{Name: baseName(image), Image: image}
	if _, err := uuid.Parse(image); err == nil {
		container.Name = "main"
	}
	name := f.name
	if name == "" {
		name = container.Name + "-" + suffix()
	}
	if len(command) > 0 {
		container.Command = &command
	}
	if len(env) > 0 {
		container.Env = &env
	}
	if f.user != "" {
		container.User = &f.user
	}
	if f.workdir != "" {
		container.WorkingDir = &f.workdir
	}
	return openapi.PodCreate{Name: name, Spec: openapi.PodSpec{
		Containers: []openapi.Container{container}, Resources: openapi.Resources{CPUMillis: cpu, MemoryMiB: memory}, RestartPolicy: &policy,
	}}, mounts, nil
}

// suffix tells pods of one image apart.
func suffix() string {
	const letters = "bcdfghjklmnpqrstvwxz0123456789"
	b := make([]byte, 5)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

func (f runFlags) run(ctx context.Context, c *openapi.Client, order openapi.PodCreate, mounts []mount, progress io.Writer) (openapi.Pod, error) {
	if err := mountVolumes(ctx, c, &order.Spec, mounts); err != nil {
		return openapi.Pod{}, err
	}
	if err := f.haveImage(ctx, c, order.Spec.Containers[0].Image, progress); err != nil {
		return openapi.Pod{}, err
	}
	pod, err := answer[openapi.Pod](c.CreatePod(ctx, &openapi.CreatePodParams{IdempotencyKey: newKey()}, order))
	if err != nil || !f.wait {
		return pod, err
	}
	what := "pod " + pod.Name
	err = until(ctx, f.timeout, what, progress, func() (bool, string, error) {
		var err error
		if pod, err = answer[openapi.Pod](c.GetPod(ctx, pod.ID)); err != nil {
			return false, "", err
		}
		switch pod.Status.Phase {
		case openapi.PodPhaseFailed, openapi.PodPhaseStopping:
			return false, "", fmt.Errorf("%s is %s", what, state(describePhase(pod), pod.Status.Message))
		case openapi.PodPhaseRunning, openapi.PodPhaseSucceeded:
			return true, string(pod.Status.Phase), nil
		default:
			return false, state(string(pod.Status.Phase), pod.Status.Message), nil
		}
	})
	return pod, err
}

// haveImage imports a reference that is not here, and waits until it is ready.
func (f runFlags) haveImage(ctx context.Context, c *openapi.Client, image string, progress io.Writer) error {
	known, err := findImage(ctx, c, image)
	_, idErr := uuid.Parse(image)
	switch {
	case isNotFound(err) && idErr != nil, err == nil && known.State == openapi.ImageStateFailed:
		if err == nil {
			image = known.Reference
		}
		if known, err = importImage(ctx, c, openapi.ImageImport{Reference: image}); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	_, err = waitImage(ctx, c, known, f.timeout, progress)
	return err
}

// mountVolumes puts the volumes into the order. One volume may be mounted at several places.
func mountVolumes(ctx context.Context, c *openapi.Client, spec *openapi.PodSpec, mounts []mount) error {
	var volumes []openapi.PodVolume
	var at []openapi.VolumeMount
	named := map[uuid.UUID]bool{}
	for _, m := range mounts {
		v, err := findVolume(ctx, c, m.volume)
		if err != nil {
			return err
		}
		if !named[v.ID] {
			named[v.ID] = true
			volumes = append(volumes, openapi.PodVolume{Name: v.Name, VolumeID: v.ID})
		}
		at = append(at, openapi.VolumeMount{Volume: v.Name, MountPath: m.path, ReadOnly: &m.readOnly})
	}
	if len(mounts) > 0 {
		spec.Volumes, spec.Containers[0].VolumeMounts = &volumes, &at
	}
	return nil
}

// describePhase adds the address, or how the container ended.
func describePhase(p openapi.Pod) string {
	text := string(p.Status.Phase)
	switch {
	case p.Status.Phase == openapi.PodPhaseRunning && p.Status.Address != nil:
		text += ", address " + *p.Status.Address
	case len(p.Status.Containers) == 1 && p.Status.Containers[0].ExitCode != nil:
		text += fmt.Sprintf(", exit code %d", *p.Status.Containers[0].ExitCode)
	}
	return text
}
