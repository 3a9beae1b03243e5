package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

type runFlags struct {
	name, cpus, memory, restart, user, workdir, entrypoint, wait, keys string
	env, envFiles, volumes, labels, publish                            []string
	place                                                              placeFlags
	remove, detach, interactive, tty                                   bool
	timeout                                                            time.Duration
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [ARG…]",
		Short: "Order a pod of one container, and follow its output",
		Long: `Order a pod of one container, and follow its output until it has ended; husk
then exits with the container's exit code. Ctrl-C leaves the pod running, unless
--rm is given.

IMAGE is a reference or the id of an imported image; a reference that was not
imported yet is imported first. What stands behind IMAGE goes to the container,
in the place of the image's own arguments (a -- right behind IMAGE is left out),
so flags of husk stand before it.

With -i the container has a standard input, and this program's goes there, to its
end; with -it it has a terminal, which is shown on this one, and which Ctrl-P
Ctrl-Q leave: the pod goes on then, with --rm too, and husk attach -it comes back.

With -d husk prints the pod's name and does not wait; with --wait it waits until
the pod runs, or with --wait=succeeded until it has ended well, and then prints
its name.`,
		Example: `  husk run --rm registry.example.com/busybox:1 echo hello
  husk run -it --rm registry.example.com/busybox:1 sh
  husk run -i --rm registry.example.com/busybox:1 gzip < notes > notes.gz
  husk run -d --name web -m 256m --restart always registry.example.com/nginx:1.22
  husk run --wait -v data:/var/lib/postgresql -e POSTGRES_PASSWORD registry.example.com/postgres:15`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("an image is needed")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.named(cmd, "image"), cobra.ShellCompDirectiveNoFileComp
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what stands behind the image is the container's
	fs.StringVar(&f.name, "name", "", "name of the pod (default: made from the image's)")
	fs.StringVar(&f.cpus, "cpus", "0.5", "cores, such as 0.5 or 500m")
	fs.StringVarP(&f.memory, "memory", "m", "256Mi", "memory of the virtual machine, its kernel included, such as 256m or 1g")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "NAME=VALUE; NAME alone passes this environment's value on; may be repeated")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "a file of lines NAME=VALUE; may be repeated")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "VOLUME:/path or VOLUME:/path:ro; may be repeated")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "NAME=VALUE; may be repeated")
	fs.StringArrayVarP(&f.publish, "publish", "p", nil, "not there yet: a pod has an address of its own and all its ports are open in the tenant's network")
	fs.StringVar(&f.entrypoint, "entrypoint", "", "the program, in the place of the image's entrypoint")
	fs.StringVar(&f.restart, "restart", "no", "no, on-failure or always")
	fs.StringVarP(&f.user, "user", "u", "", "user or user:group (default: the image's)")
	fs.StringVarP(&f.workdir, "workdir", "w", "", "working directory (default: the image's)")
	fs.BoolVar(&f.remove, "rm", false, "delete the pod when it has ended, and on Ctrl-C")
	fs.BoolVarP(&f.detach, "detach", "d", false, "print the pod's name and leave it to itself")
	fs.StringVar(&f.wait, "wait", "", "leave the pod to itself when it is running or has succeeded")
	fs.Lookup("wait").NoOptDefVal = "running"
	f.place.add(fs)
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait, for the image and for the pod each")
	fs.BoolVarP(&f.interactive, "interactive", "i", false, "give the container a standard input, and pass this one on; with -d or --wait it stays open for husk attach -i")
	fs.BoolVarP(&f.tty, "tty", "t", false, "give the container a terminal")
	addDetachKeys(cmd, &f.keys)
	a.completeWords(cmd, "restart", "no", "on-failure", "always")
	a.completeWords(cmd, "wait", "running", "succeeded")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		if p.format != "text" && !f.leaves() {
			return usagef("--output is for -d and --wait; else the container's own output is printed")
		}
		if !f.leaves() {
			f.tty = a.hasTerminal(f.tty, f.interactive, "the container")
		}
		order, mounts, err := f.order(args[0], args[1:])
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		return a.run(cmd.Context(), c, f, order, mounts, p)
	}
	return cmd
}

// leaves tells whether the pod is left to itself.
func (f runFlags) leaves() bool { return f.detach || f.wait != "" }

// check refuses what cannot be, before anything is done.
func (f runFlags) check() error {
	switch {
	case len(f.publish) > 0:
		return usagef("--publish: Husk does not publish ports yet. A pod has an address of its own, at which all its ports are open to the tenant's " +
			"other pods; leave -p out, and husk pod NAME shows the address")
	case f.wait != "" && f.wait != "running" && f.wait != "succeeded":
		return usagef("--wait: %q is not running or succeeded", f.wait)
	case f.remove && f.leaves() && f.wait != "succeeded":
		return usagef("--rm: nobody would be there to delete the pod; leave -d and --wait out, or say --wait=succeeded")
	}
	_, err := parseDetachKeys(f.keys)
	return err
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
	env, err := f.environment()
	if err != nil {
		return fail(err)
	}
	mounts, err := parseMounts(f.volumes)
	if err != nil {
		return fail(err)
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return fail(err)
	}
	policy, err := parseRestart(f.restart)
	if err != nil {
		return fail(err)
	}
	scheduling, err := f.place.scheduling()
	if err != nil {
		return fail(err)
	}
	container := openapi.Container{
		Name: baseName(image), Image: image, User: given(f.user), WorkingDir: given(f.workdir), Stdin: given(f.interactive), Tty: given(f.tty),
		StdinOnce: given(f.interactive && !f.tty && !f.leaves()), // it ends when this program's does
	}
	if _, err := uuid.Parse(image); err == nil {
		container.Name = "main"
	}
	name := f.name
	if name == "" {
		name = container.Name + "-" + suffix()
	}
	if f.entrypoint != "" {
		container.Command = &[]string{f.entrypoint}
	}
	if len(command) > 0 && command[0] == "--" { // as kubectl's users write it
		command = command[1:]
	}
	if len(command) > 0 {
		container.Args = &command
	}
	if len(env) > 0 {
		container.Env = &env
	}
	return openapi.PodCreate{Name: name, Labels: labels, Spec: openapi.PodSpec{
		Containers: []openapi.Container{container}, Resources: openapi.Resources{CPUMillis: cpu, MemoryMiB: memory}, RestartPolicy: &policy, Scheduling: scheduling,
	}}, mounts, nil
}

// environment joins the files and the flags; what comes later wins, and flags come last.
func (f runFlags) environment() ([]openapi.EnvVar, error) {
	var all []openapi.EnvVar
	for _, file := range f.envFiles {
		vars, err := parseEnvFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, vars...)
	}
	vars, err := parseEnv(f.env)
	if err != nil {
		return nil, err
	}
	var joined []openapi.EnvVar
	for _, v := range append(all, vars...) {
		if i := slices.IndexFunc(joined, func(e openapi.EnvVar) bool { return e.Name == v.Name }); i >= 0 {
			joined[i].Value = v.Value
			continue
		}
		joined = append(joined, v)
	}
	return joined, nil
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

// run orders the pod and stays with it for as long as was asked for.
func (a *app) run(ctx context.Context, c *openapi.Client, f runFlags, order openapi.PodCreate, mounts []mount, p printer) (err error) {
	if err := mountVolumes(ctx, c, &order.Spec, mounts); err != nil {
		return err
	}
	if err := a.haveImage(ctx, c, order.Spec.Containers[0].Image, f.timeout); err != nil {
		return err
	}
	pod, err := createPod(ctx, c, order)
	if err != nil {
		return err
	}
	defer func() {
		switch left, ok := errors.AsType[leftError](err); {
		case ok:
			a.hint("\n%s goes on; husk attach %s%s comes back to it, husk delete %s ends it", podView.ref(pod), left.flags, pod.Name, podView.ref(pod))
			err = left.why
		case f.remove:
			err = errors.Join(err, a.remove(ctx, c, pod))
		case ctx.Err() != nil && !f.detach:
			a.hint("\n%s goes on; husk logs -f %s follows it, husk delete %s ends it", podView.ref(pod), pod.Name, podView.ref(pod))
		}
	}()
	if !f.leaves() && (f.interactive || f.tty) {
		return a.interact(ctx, c, pod, f)
	}
	if !f.leaves() {
		return a.attend(ctx, c, pod, f.timeout)
	}
	if f.wait != "" {
		if pod, err = a.waitPod(ctx, c, pod, f.wait, f.timeout); err != nil {
			return err
		}
	}
	if p.format != "text" {
		return podView.one(p, pod)
	}
	_, err = fmt.Fprintln(p.out, clean(pod.Name))
	return err
}

func createPod(ctx context.Context, c *openapi.Client, order openapi.PodCreate) (openapi.Pod, error) {
	return answer[openapi.Pod](c.CreatePod(ctx, &openapi.CreatePodParams{IdempotencyKey: newKey()}, order))
}

// ended tells whether a pod's containers have ended for good.
func ended(p openapi.Pod) bool {
	return p.Status.Phase == openapi.PodPhaseSucceeded || p.Status.Phase == openapi.PodPhaseFailed
}

// waitPod waits until a pod runs or has succeeded. One that has succeeded has run.
func (a *app) waitPod(ctx context.Context, c *openapi.Client, pod openapi.Pod, goal string, timeout time.Duration) (openapi.Pod, error) {
	err := a.until(ctx, timeout, podView.ref(pod), func() (bool, string, error) {
		var err error
		if pod, err = answer[openapi.Pod](c.GetPod(ctx, pod.ID)); err != nil {
			return false, "", err
		}
		switch pod.Status.Phase { //nolint:exhaustive // the others are on their way
		case openapi.PodPhaseFailed, openapi.PodPhaseStopping:
			return false, "", fmt.Errorf("%s is %s", podView.ref(pod), state(describePhase(pod), pod.Status.Message))
		case openapi.PodPhaseSucceeded:
			return true, describePhase(pod), nil
		case openapi.PodPhaseRunning:
			return goal == "running", describePhase(pod), nil
		default:
			return false, state(string(pod.Status.Phase), pod.Status.Message), nil
		}
	})
	return pod, err
}

// untilStarted waits until a pod runs or has ended.
func (a *app) untilStarted(ctx context.Context, c *openapi.Client, pod openapi.Pod, timeout time.Duration) (openapi.Pod, error) {
	err := a.until(ctx, timeout, podView.ref(pod), func() (bool, string, error) {
		var err error
		if pod, err = answer[openapi.Pod](c.GetPod(ctx, pod.ID)); err != nil {
			return false, "", err
		}
		return ended(pod) || pod.Status.Phase == openapi.PodPhaseRunning, state(string(pod.Status.Phase), pod.Status.Message), nil
	})
	return pod, err
}

// attend waits for a pod's start, follows its log, and ends as its container does.
func (a *app) attend(ctx context.Context, c *openapi.Client, pod openapi.Pod, timeout time.Duration) error {
	pod, err := a.untilStarted(ctx, c, pod, timeout)
	if err != nil {
		return err
	}
	if pod.Status.Phase == openapi.PodPhaseFailed && containerCode(pod) == nil { // it never ran, so there is no log
		return fmt.Errorf("%s is %s", podView.ref(pod), state(describePhase(pod), pod.Status.Message))
	}
	f := follower{pod: pod, print: printTo(a.out, a.errs)}
	if pod, err = f.toTheEnd(ctx, c); err != nil {
		return err
	}
	if pod, err = a.settled(ctx, c, pod); err != nil {
		return err
	}
	return podEnd(pod)
}

// settled waits until a pod whose container has ended is said to have; that is a moment.
func (a *app) settled(ctx context.Context, c *openapi.Client, pod openapi.Pod) (openapi.Pod, error) {
	for attempt := 1; !ended(pod); attempt++ {
		if pod.Status.Phase == openapi.PodPhaseStopping {
			return pod, fmt.Errorf("%s was deleted meanwhile", podView.ref(pod))
		}
		if err := wait(ctx, min(backoff(attempt), time.Second)); err != nil {
			return pod, err
		}
		var err error
		if pod, err = answer[openapi.Pod](c.GetPod(ctx, pod.ID)); err != nil {
			return pod, err
		}
	}
	return pod, nil
}

// containerCode is the exit code of a pod's first container that did not end well, or of any.
func containerCode(pod openapi.Pod) *int {
	var code *int
	for _, s := range pod.Status.Containers {
		if s.ExitCode != nil && (code == nil || *code == 0) {
			code = s.ExitCode
		}
	}
	return code
}

// podEnd passes on how a pod has ended.
func podEnd(pod openapi.Pod) error {
	code := containerCode(pod)
	switch {
	case pod.Status.Phase == openapi.PodPhaseSucceeded:
		return nil
	case code != nil && *code != 0:
		return containerError{*code}
	default:
		return fmt.Errorf("%s is %s", podView.ref(pod), state(describePhase(pod), pod.Status.Message))
	}
}

// removeTime is how long a pod that was run with --rm may take to go.
const removeTime = 2 * time.Minute

// remove deletes a pod, after an interruption too; a second one ends the program.
func (a *app) remove(ctx context.Context, c *openapi.Client, pod openapi.Pod) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	o := podObject(c, pod)
	if _, err := answer[struct{}](o.delete(ctx)); err != nil {
		if isNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s is not deleted, husk delete %s does it: %w", o.ref, o.ref, err)
	}
	return a.untilGone(ctx, o, removeTime)
}

// haveImage imports a reference that is not here, and waits until it is ready.
func (a *app) haveImage(ctx context.Context, c *openapi.Client, image string, timeout time.Duration) error {
	known, err := findImage(ctx, c, image)
	_, isID := parseID(image)
	switch {
	case isNotFound(err) && !isID, err == nil && known.State == openapi.ImageStateFailed:
		if err == nil {
			image = known.Reference
		}
		if known, err = importImage(ctx, c, openapi.ImageImport{Reference: image}); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	_, err = a.waitImage(ctx, c, known, timeout)
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
