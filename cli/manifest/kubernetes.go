// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/openapi"
)

// The fields of a Kubernetes Pod that are accepted, under their names in Kubernetes. All others are refused with their paths.
type (
	kubernetesPod struct {
		header

		Metadata struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Spec struct {
			kubernetesScheduling

			Containers                    []kubernetesContainer  `json:"containers"`
			RestartPolicy                 *openapi.RestartPolicy `json:"restartPolicy"`
			TerminationGracePeriodSeconds *int                   `json:"terminationGracePeriodSeconds"`
			Volumes                       []kubernetesVolume     `json:"volumes"`
		} `json:"spec"`
	}
	kubernetesContainer struct {
		Name       string   `json:"name"`
		Image      string   `json:"image"`
		Command    []string `json:"command"`
		Args       []string `json:"args"`
		WorkingDir string   `json:"workingDir"`
		Env        []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"env"`
		Resources struct {
			Limits   kubernetesSize `json:"limits"`
			Requests kubernetesSize `json:"requests"`
		} `json:"resources"`
		VolumeMounts []struct {
			Name      string `json:"name"`
			MountPath string `json:"mountPath"`
			ReadOnly  bool   `json:"readOnly"`
		} `json:"volumeMounts"`
		Stdin     bool `json:"stdin"`
		StdinOnce bool `json:"stdinOnce"`
		TTY       bool `json:"tty"`
		Security  struct {
			Privileged bool `json:"privileged"`
		} `json:"securityContext"`
	}
	kubernetesSize struct {
		CPU    cpuQuantity    `json:"cpu"`
		Memory memoryQuantity `json:"memory"`
	}
	kubernetesVolume struct {
		Name  string `json:"name"`
		Claim *struct {
			ClaimName string `json:"claimName"`
			ReadOnly  bool   `json:"readOnly"`
		} `json:"persistentVolumeClaim"`
	}
)

// The size of a pod whose containers have no limits and no requests. husk run has the same default.
const (
	defaultCPUMillis = 500
	defaultMemoryMiB = 256
)

// translate makes a pod of Husk from a Kubernetes Pod.
func (p kubernetesPod) translate(d *decoder, node *yaml.Node) *Pod {
	d.checkName(node, "metadata.name", p.Metadata.Name)
	out := Pod{VolumeNames: map[string]string{}, PodCreate: openapi.PodCreate{Name: p.Metadata.Name, Spec: openapi.PodSpec{
		RestartPolicy: p.Spec.RestartPolicy, TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds,
	}}}
	if len(p.Metadata.Labels) > 0 {
		labels := openapi.Labels(p.Metadata.Labels)
		out.Labels = &labels
	}
	readOnly := map[string]bool{}
	var volumes []openapi.PodVolume
	for i, v := range p.Spec.Volumes {
		if v.Claim == nil || v.Claim.ClaimName == "" {
			d.fail(node, fmt.Sprintf("spec.volumes[%d]", i), "name a volume with persistentVolumeClaim.claimName")
			continue
		}
		volumes = append(volumes, openapi.PodVolume{Name: v.Name})
		out.VolumeNames[v.Name] = v.Claim.ClaimName
		readOnly[v.Name] = v.Claim.ReadOnly
	}
	if volumes != nil {
		out.Spec.Volumes = &volumes
	}
	if len(p.Spec.Containers) == 0 {
		d.fail(node, "spec.containers", "a pod needs at least one container")
	}
	for _, c := range p.Spec.Containers {
		out.Spec.Containers = append(out.Spec.Containers, c.translate(readOnly))
	}
	out.Spec.Resources = p.size(d, node)
	out.Spec.Scheduling = p.Spec.scheduling(d, node)
	return &out
}

func (c kubernetesContainer) translate(readOnly map[string]bool) openapi.Container {
	out := openapi.Container{Name: c.Name, Image: c.Image}
	if c.WorkingDir != "" {
		out.WorkingDir = &c.WorkingDir
	}
	// Kubernetes replaces $(NAME) in a value by the value of a variable that precedes it.
	values := map[string]string{}
	var env []openapi.EnvVar
	for _, e := range c.Env {
		value := expandVariables(e.Value, values)
		values[e.Name] = value
		env = append(env, openapi.EnvVar{Name: e.Name, Value: value})
	}
	if env != nil {
		out.Env = &env
	}
	for from, to := range map[*[]string]**[]string{&c.Command: &out.Command, &c.Args: &out.Args} {
		if *from == nil {
			continue
		}
		words := make([]string, len(*from))
		for i, word := range *from {
			words[i] = expandVariables(word, values)
		}
		*to = &words
	}
	var mounts []openapi.VolumeMount
	for _, m := range c.VolumeMounts {
		mount := openapi.VolumeMount{Volume: m.Name, MountPath: m.MountPath}
		if m.ReadOnly || readOnly[m.Name] {
			yes := true
			mount.ReadOnly = &yes
		}
		mounts = append(mounts, mount)
	}
	if mounts != nil {
		out.VolumeMounts = &mounts
	}
	// The same fields with the same meaning. Their default is false.
	for said, to := range map[*bool]**bool{&c.Stdin: &out.Stdin, &c.StdinOnce: &out.StdinOnce, &c.TTY: &out.Tty, &c.Security.Privileged: &out.Privileged} {
		if *said {
			*to = said
		}
	}
	return out
}

// size returns the size of the virtual machine: the sum of the containers' limits. A container without a limit counts as large as its
// request. If no container has a limit or a request, size returns the default.
func (p kubernetesPod) size(d *decoder, node *yaml.Node) openapi.Resources {
	var cpu, memory int64
	var silentCPU, silentMemory []string
	for i, c := range p.Spec.Containers {
		path := fmt.Sprintf("spec.containers[%d].resources", i)
		r := c.Resources
		if n := max(int64(r.Limits.CPU), 0); n > 0 || r.Requests.CPU > 0 {
			if n == 0 {
				n = int64(r.Requests.CPU)
			}
			cpu += n
		} else {
			silentCPU = append(silentCPU, path+".limits.cpu")
		}
		if n := int64(r.Limits.Memory); n > 0 || r.Requests.Memory > 0 {
			if n == 0 {
				n = int64(r.Requests.Memory)
			}
			memory += n
		} else {
			silentMemory = append(silentMemory, path+".limits.memory")
		}
	}
	if cpu == 0 {
		cpu = defaultCPUMillis
	} else {
		for _, path := range silentCPU {
			d.fail(node, path, "the virtual machine is as large as all containers together; this container needs a limit or a request, because other containers have one")
		}
	}
	mib := (memory + 1<<20 - 1) >> 20
	if memory == 0 {
		mib = defaultMemoryMiB
	} else {
		for _, path := range silentMemory {
			d.fail(node, path, "the virtual machine is as large as all containers together; this container needs a limit or a request, because other containers have one")
		}
	}
	return openapi.Resources{CPUMillis: int(cpu), MemoryMiB: int(mib)}
}

// expandVariables replaces $(NAME) by values. $$ is one $, and an unknown name is not replaced.
func expandVariables(text string, values map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		value, known := values[name]
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "(") && closed && known:
			out.WriteString(value)
			text = after
		default:
			out.WriteByte('$')
			text = rest
		}
	}
}
