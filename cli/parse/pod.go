// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/openapi"
)

// Pod holds the flags that describe a pod with one container.
type Pod struct {
	Interactive, Terminal    bool
	privileged, readOnlyRoot bool
	initProcess              bool

	name, cpus, memory, shmSize, storage, restart, user, workdir, entrypoint, stopSignal, stopTimeout string
	env, envFiles, volumes, snapshots, tmpfs, labels                                                  []string
	capAdd, capDrop, groups, security, securityGroups, ulimits                                        []string
	health                                                                                            Health
	scheduling                                                                                        Scheduling
	names                                                                                             Names
	flags                                                                                             *pflag.FlagSet
}

// clearsEntrypoint reports whether the command line has an empty --entrypoint: the image's entrypoint is not used then.
func (f *Pod) clearsEntrypoint() bool {
	return f.entrypoint == "" && f.flags != nil && f.flags.Changed("entrypoint")
}

// AddTo adds the flags.
func (f *Pod) AddTo(fs *pflag.FlagSet) {
	f.flags = fs
	fs.StringVar(&f.name, "name", "", "name of the pod (default: derived from the image's name)")
	fs.StringVar(&f.cpus, "cpus", "0.5", "cores, such as 0.5 or 500m")
	fs.StringVarP(&f.memory, "memory", "m", "256Mi", "memory that the container can use, such as 256m or 1g")
	fs.StringVar(&f.shmSize, "shm-size", "", "limit of /dev/shm, such as 64m (default: half of the memory)")
	fs.StringVar(&f.storage, "ephemeral-storage", "", "size of the disk for what the container writes outside of volumes, such as 20g, or memory to write to the pod's memory (default: 10g)")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "set an environment variable: NAME=VALUE, or NAME to take the value from husk's environment; may be repeated")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "read environment variables from a file with lines NAME=VALUE; may be repeated")
	fs.StringArrayVar(&f.snapshots, "snapshot", nil, "mount a snapshot of a volume read-only: SNAPSHOT:/path; may be repeated")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "mount a volume: VOLUME:/path, or VOLUME:/path:ro for read-only; may be repeated")
	fs.StringArrayVar(&f.tmpfs, "tmpfs", nil, "mount an empty directory in memory: /path, or /path:size=64m; may be repeated")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "add a label, NAME=VALUE; may be repeated")
	fs.StringVar(&f.entrypoint, "entrypoint", "", "run this program instead of the image's entrypoint; if it is empty, run only the command after the image")
	fs.StringVar(&f.restart, "restart", "no", "when to restart the container: no, on-failure, on-failure:N for at most N times, or always")
	fs.StringVarP(&f.user, "user", "u", "", "user or user:group (default: the image's)")
	fs.StringVarP(&f.workdir, "workdir", "w", "", "working directory (default: the image's)")
	fs.BoolVarP(&f.Interactive, "interactive", "i", false, "send husk's standard input to the container; with -d or --wait, keep the container's standard input open for husk attach -i")
	fs.BoolVarP(&f.Terminal, "tty", "t", false, "give the container a terminal")
	fs.StringArrayVar(&f.groups, "group-add", nil, "add a group to the user, as a name or a number; may be repeated")
	fs.StringArrayVar(&f.capAdd, "cap-add", nil, "give the container a Linux capability, such as NET_ADMIN, or ALL; may be repeated")
	fs.StringArrayVar(&f.capDrop, "cap-drop", nil, "take a Linux capability from the container, or ALL; may be repeated")
	fs.BoolVar(&f.initProcess, "init", false, "run the command as the child of an init process, which passes signals on and waits for orphans")
	fs.BoolVar(&f.readOnlyRoot, "read-only", false, "make the container's root file system read-only")
	fs.StringArrayVar(&f.security, "security-opt", nil, "no-new-privileges makes set-user-ID programs ineffective; no-new-privileges=false allows them (default: ineffective if the image has none)")
	fs.StringArrayVar(&f.ulimits, "ulimit", nil, "limit each process: NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:65536; -1 is unlimited; may be repeated")
	fs.StringVar(&f.stopSignal, "stop-signal", "", "signal that ends the container (default: the image's, or SIGTERM)")
	fs.StringVar(&f.stopTimeout, "stop-timeout", "", "seconds that the container has to end before it is killed (default: 30)")
	fs.StringArrayVar(&f.securityGroups, "security-group", nil, "security group that the pod names; may be repeated")
	f.health.AddTo(fs)
	f.names.AddTo(fs)
	fs.BoolVar(&f.privileged, "privileged", false, "give root in the container the whole guest: all capabilities and devices")
	f.scheduling.AddTo(fs)
}

// Create makes a pod from the flags, without its volumes. It returns the mounts of the volumes separately, because only the API knows the
// volumes' IDs. If the pod is followed and has no terminal, its input ends when the input of this program ends.
func (f *Pod) Create(image string, command []string, followed bool) (openapi.PodCreate, []Mount, error) {
	fail := func(err error) (openapi.PodCreate, []Mount, error) { return openapi.PodCreate{}, nil, err }
	cpu, err := CPU(f.cpus)
	if err != nil {
		return fail(err)
	}
	memory, err := Size("--memory", f.memory, "Mi")
	if err != nil {
		return fail(err)
	}
	env, err := f.environment()
	if err != nil {
		return fail(err)
	}
	mounts, err := allMounts(f.volumes, f.snapshots)
	if err != nil {
		return fail(err)
	}
	labels, err := Labels(f.labels)
	if err != nil {
		return fail(err)
	}
	policy, most, err := Restart(f.restart)
	if err != nil {
		return fail(err)
	}
	scheduling, err := f.scheduling.Scheduling()
	if err != nil {
		return fail(err)
	}
	noNewPrivileges, err := securityOptions(f.security)
	if err != nil {
		return fail(err)
	}
	limits, err := ulimits(f.ulimits)
	if err != nil {
		return fail(err)
	}
	health, err := f.health.Probe()
	if err != nil {
		return fail(err)
	}
	container := openapi.Container{
		Name: BaseName(image), Image: image, User: given(f.user), WorkingDir: given(f.workdir), Stdin: given(f.Interactive), Tty: given(f.Terminal),
		StdinOnce: given(f.Interactive && !f.Terminal && followed), Privileged: given(f.privileged),
		ReadOnlyRoot: given(f.readOnlyRoot), NoNewPrivileges: noNewPrivileges, StopSignal: given(strings.ToUpper(f.stopSignal)),
		CapabilitiesAdd: listed(f.capAdd, capability), CapabilitiesDrop: listed(f.capDrop, capability), Groups: listed(f.groups, strings.Clone),
		LivenessProbe: health, Ulimits: limits, InitProcess: given(f.initProcess), MaxRestarts: most,
		StartOnAttach: given(followed),
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
	if len(command) > 0 && command[0] == "--" { // users of kubectl write it
		command = command[1:]
	}
	switch {
	case f.clearsEntrypoint() && len(command) == 0:
		return fail(exit.Usagef("--entrypoint \"\" leaves nothing to run; add the command after the image"))
	case f.clearsEntrypoint():
		container.Command = &command
	case len(command) > 0:
		container.Args = &command
	}
	if len(env) > 0 {
		container.Env = &env
	}
	spec := openapi.PodSpec{
		Containers: []openapi.Container{container}, Resources: openapi.Resources{CPUMillis: cpu, MemoryMiB: memory}, RestartPolicy: &policy, Scheduling: scheduling,
	}
	if len(f.securityGroups) > 0 {
		spec.SecurityGroups = &f.securityGroups
	}
	if spec.Volumes, spec.Containers[0].VolumeMounts, err = tmpfs(f.tmpfs); err != nil {
		return fail(err)
	}
	if f.shmSize != "" {
		size, err := Size("--shm-size", f.shmSize, "Mi")
		if err != nil {
			return fail(err)
		}
		spec.ShmSizeMiB = &size
	}
	if err := f.names.Set(&spec); err != nil {
		return fail(err)
	}
	switch f.storage {
	case "":
	case string(openapi.Memory):
		memory := openapi.Memory
		spec.EphemeralStorage = &memory
	default:
		size, err := Size("--ephemeral-storage", f.storage, "Gi")
		if err != nil {
			return fail(err)
		}
		spec.EphemeralStorageGiB = &size
	}
	if f.stopTimeout != "" {
		seconds, err := strconv.Atoi(f.stopTimeout)
		if err != nil {
			return fail(exit.Usagef("--stop-timeout %q: give a number of seconds", f.stopTimeout))
		}
		spec.TerminationGracePeriodSeconds = &seconds
	}
	return openapi.PodCreate{Name: name, Labels: labels, Spec: spec}, mounts, nil
}

// capability returns the name of a capability as the API writes it. Docker accepts more forms.
func capability(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }

// listed returns the converted items, or nil if there are none.
func listed(items []string, convert func(string) string) *[]string {
	if len(items) == 0 {
		return nil
	}
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = convert(item)
	}
	return &out
}

// securityOptions reads the values of --security-opt. It returns whether privileges cannot grow, or nil if the values do not say.
func securityOptions(options []string) (*bool, error) {
	var noNewPrivileges *bool
	for _, option := range options {
		name, value, _ := strings.Cut(strings.Replace(option, ":", "=", 1), "=")
		yes := value == "" || value == "true"
		if name != "no-new-privileges" || !yes && value != "false" {
			return nil, exit.Usagef("--security-opt %q: only no-new-privileges and no-new-privileges=false are supported", option)
		}
		noNewPrivileges = &yes
	}
	return noNewPrivileges, nil
}

// environment joins the files and the flags. Later ones take precedence, and flags come last.
func (f *Pod) environment() ([]openapi.EnvVar, error) {
	var all []openapi.EnvVar
	for _, file := range f.envFiles {
		vars, err := EnvFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, vars...)
	}
	vars, err := Env(f.env)
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

// suffix distinguishes the names of pods of one image.
func suffix() string {
	const letters = "bcdfghjklmnpqrstvwxz0123456789"
	b := make([]byte, 5)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

// given returns a pointer to a value, or nil for a zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
