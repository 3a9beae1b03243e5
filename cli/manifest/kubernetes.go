// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"husk/cli/manifest/instead"
	"husk/cli/manifest/tree"
	"husk/openapi"
)

// The fields of a Kubernetes Pod that are accepted, under their names in Kubernetes. judgePodField judges all others.
type (
	kubernetesPod struct {
		header

		Metadata struct {
			Name         string            `json:"name"`
			GenerateName string            `json:"generateName"`
			Namespace    string            `json:"namespace"`
			Labels       map[string]string `json:"labels"`
			Annotations  map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			kubernetesScheduling

			InitContainers                []kubernetesContainer      `json:"initContainers"`
			Containers                    []kubernetesContainer      `json:"containers"`
			ActiveDeadlineSeconds         *int                       `json:"activeDeadlineSeconds"`
			RestartPolicy                 *openapi.RestartPolicy     `json:"restartPolicy"`
			TerminationGracePeriodSeconds *int                       `json:"terminationGracePeriodSeconds"`
			Volumes                       []kubernetesVolume         `json:"volumes"`
			Security                      *kubernetesSecurityContext `json:"securityContext"`
			Resources                     kubernetesResources        `json:"resources"`
			ServiceAccountName            string                     `json:"serviceAccountName"`
			Hostname                      string                     `json:"hostname"`
			HostAliases                   []openapi.HostAlias        `json:"hostAliases"`
			DNSPolicy                     string                     `json:"dnsPolicy"`
			PullSecrets                   []struct {
				Name string `json:"name"`
			} `json:"imagePullSecrets"`
			DNSConfig *openapi.DNSConfig `json:"dnsConfig"`
			OS        struct {
				Name string `json:"name"`
			} `json:"os"`
		} `json:"spec"`
	}
	kubernetesContainer struct {
		Name         string              `json:"name"`
		Image        string              `json:"image"`
		Command      []string            `json:"command"`
		Args         []string            `json:"args"`
		WorkingDir   string              `json:"workingDir"`
		Env          []kubernetesEnv     `json:"env"`
		EnvFrom      []kubernetesEnvFrom `json:"envFrom"`
		Resources    kubernetesResources `json:"resources"`
		Ports        []kubernetesPort    `json:"ports"`
		VolumeMounts []struct {
			Name      string `json:"name"`
			MountPath string `json:"mountPath"`
			SubPath   string `json:"subPath"`
			SubExpr   string `json:"subPathExpr"`
			ReadOnly  bool   `json:"readOnly"`
		} `json:"volumeMounts"`
		VolumeDevices []struct {
			Name       string `json:"name"`
			DevicePath string `json:"devicePath"`
		} `json:"volumeDevices"`
		Stdin     bool                       `json:"stdin"`
		StdinOnce bool                       `json:"stdinOnce"`
		TTY       bool                       `json:"tty"`
		Security  *kubernetesSecurityContext `json:"securityContext"`

		RestartPolicy            *openapi.RestartPolicy `json:"restartPolicy"`
		StartupProbe             *kubernetesProbe       `json:"startupProbe"`
		ReadinessProbe           *kubernetesProbe       `json:"readinessProbe"`
		LivenessProbe            *kubernetesProbe       `json:"livenessProbe"`
		Lifecycle                kubernetesLifecycle    `json:"lifecycle"`
		TerminationMessagePath   string                 `json:"terminationMessagePath"`
		TerminationMessagePolicy string                 `json:"terminationMessagePolicy"`
	}
	kubernetesPort struct {
		Name          string `json:"name"`
		ContainerPort int    `json:"containerPort"`
		Protocol      string `json:"protocol"`
		HostPort      int    `json:"hostPort"`
	}
	kubernetesEnv struct {
		Name  string `json:"name"`
		Value string `json:"value"`
		From  *struct {
			Field     *kubernetesFieldRef    `json:"fieldRef"`
			Resource  *kubernetesResourceRef `json:"resourceFieldRef"`
			ConfigMap *kubernetesKeyRef      `json:"configMapKeyRef"`
			Secret    *kubernetesKeyRef      `json:"secretKeyRef"`
		} `json:"valueFrom"`
	}
	kubernetesVolume struct {
		Name  string `json:"name"`
		Claim *struct {
			ClaimName string `json:"claimName"`
			ReadOnly  bool   `json:"readOnly"`
		} `json:"persistentVolumeClaim"`
		Downward  *kubernetesDownward     `json:"downwardAPI"`
		ConfigMap *kubernetesConfigVolume `json:"configMap"`
		Secret    *kubernetesConfigVolume `json:"secret"`
		EmptyDir  *kubernetesEmptyDir     `json:"emptyDir"`
		Projected *kubernetesProjected    `json:"projected"`
	}
)

// translation makes a pod of Husk from a Kubernetes Pod.
type translation struct {
	*decoder

	pod      kubernetesPod
	size     openapi.Resources
	storage  int64                          // GiB
	readOnly map[string]bool                // claims that are read-only wherever they are mounted
	downward map[string]*kubernetesDownward // volumes that become files
	hidden   map[string]bool                // volumes that Kubernetes adds to every pod
	// variables are the known variables of each container.
	variables map[string]map[string]string
	origins   map[string]string
}

func (t *translation) translate() *Pod {
	p := t.pod
	if p.Metadata.Name == "" && p.Metadata.GenerateName != "" {
		t.refuse("metadata.generateName", "give a name; only \"husk run\" generates names")
	} else {
		t.checkName("metadata.name", p.Metadata.Name)
	}
	t.informational()
	out := Pod{VolumeNames: map[string]string{}, PodCreate: openapi.PodCreate{Name: p.Metadata.Name, Spec: openapi.PodSpec{
		RestartPolicy: p.Spec.RestartPolicy, TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds,
		ActiveDeadlineSeconds: p.Spec.ActiveDeadlineSeconds,
	}}}
	t.origins["name"], t.origins["labels"] = "metadata.name", "metadata.labels"
	if len(p.Metadata.Labels) > 0 {
		labels := openapi.Labels(p.Metadata.Labels)
		out.Labels = &labels
	}
	t.variables = map[string]map[string]string{}
	annotations := openapi.Annotations{}
	for key, value := range p.Metadata.Annotations {
		if key != "kubectl.kubernetes.io/last-applied-configuration" { // the whole document
			annotations[key] = value
		}
	}
	if len(annotations) > 0 {
		out.Annotations = &annotations
	}
	t.volumes(&out)
	t.checkContext("spec.securityContext", p.Spec.Security)
	if p.Spec.Security != nil && p.Spec.Security.FSGroup != nil {
		out.Spec.FsGroup = p.Spec.Security.FSGroup
		t.origins["spec.fsGroup"] = "spec.securityContext.fsGroup"
	}
	if len(p.Spec.Containers) == 0 {
		t.refuse("spec.containers", "a pod needs at least one container")
	}
	t.size = t.sizeOfPod()
	out.Spec.Resources, out.Spec.EphemeralStorageGiB = t.size, t.storageOfPod()
	if t.storage = defaultStorageGiB; out.Spec.EphemeralStorageGiB != nil {
		t.storage = int64(*out.Spec.EphemeralStorageGiB)
	}
	var initial []openapi.Container
	for i := range p.Spec.InitContainers {
		initial = append(initial, t.container(&p.Spec.InitContainers[i], fmt.Sprintf("spec.initContainers[%d]", i)))
	}
	if initial != nil {
		out.Spec.InitContainers = &initial
	}
	for i := range p.Spec.Containers {
		out.Spec.Containers = append(out.Spec.Containers, t.container(&p.Spec.Containers[i], fmt.Sprintf("spec.containers[%d]", i)))
	}
	out.Spec.Scheduling = t.scheduling()
	t.names(&out.Spec)
	for _, s := range p.Spec.PullSecrets {
		out.RegistrySecrets = append(out.RegistrySecrets, s.Name)
	}
	return &out
}

// protecting matches the annotations with which older documents choose a profile of seccomp or AppArmor.
var protecting = regexp.MustCompile(`^(container\.apparmor\.security\.beta|(container\.)?seccomp\.security\.alpha)\.kubernetes\.io/`)

// informational checks and reports the fields that make no difference to the pod.
func (t *translation) informational() {
	p := t.pod
	if p.Metadata.Namespace != "" && p.Metadata.Namespace != "default" {
		t.warn("metadata.namespace", "ignored: "+noNamespaces)
	}
	for key, value := range p.Metadata.Annotations {
		switch {
		case protecting.MatchString(key) && value != "runtime/default" && value != "docker/default" && value != "unconfined":
			t.refuse(tree.Join("metadata.annotations", key), "this annotation protects the pod, and has no effect in Husk; containers have Docker's default system call filter")
		case strings.Contains(key, "apparmor") && value == "runtime/default":
			t.warn(tree.Join("metadata.annotations", key), noAppArmor)
		}
	}
	if name := p.Spec.ServiceAccountName; name != "" && name != "default" {
		t.warn("spec.serviceAccountName", noCredentials)
	}
	if p.Spec.OS.Name != "" && p.Spec.OS.Name != "linux" {
		t.refuse("spec.os.name", instead.NoWindows)
	}
}

func (t *translation) volumes(out *Pod) {
	t.readOnly, t.downward = map[string]bool{}, map[string]*kubernetesDownward{}
	var volumes []openapi.PodVolume
	for i, v := range t.pod.Spec.Volumes {
		at := fmt.Sprintf("spec.volumes[%d]", i)
		switch {
		case t.hidden[v.Name]:
		case v.Downward != nil:
			t.downward[v.Name] = v.Downward
		case v.ConfigMap != nil || v.Secret != nil:
			ours := fmt.Sprintf("spec.volumes[%d]", len(volumes))
			volume := openapi.PodVolume{Name: v.Name}
			if v.ConfigMap != nil {
				volume.Config = v.ConfigMap.configFiles(v.ConfigMap.Name)
				t.origins[ours+".config"], t.origins[ours+".config.name"] = at+".configMap", at+".configMap.name"
			} else {
				volume.Secret = v.Secret.configFiles(v.Secret.SecretName)
				t.origins[ours+".secret"], t.origins[ours+".secret.name"] = at+".secret", at+".secret.secretName"
			}
			t.origins[ours] = at
			volumes = append(volumes, volume)
		case v.Projected != nil:
			ours := fmt.Sprintf("spec.volumes[%d]", len(volumes))
			t.origins[ours] = at
			parts := t.projected(v.Projected, ours+".projected", at+".projected")
			volumes = append(volumes, openapi.PodVolume{Name: v.Name, Projected: &parts})
		case v.EmptyDir != nil:
			ours := fmt.Sprintf("spec.volumes[%d]", len(volumes))
			t.origins[ours], t.origins[ours+".emptyDir.sizeMiB"] = at, at+".emptyDir.sizeLimit"
			volumes = append(volumes, openapi.PodVolume{Name: v.Name, EmptyDir: t.emptyDir(v.EmptyDir, at+".emptyDir")})
		case v.Claim == nil || v.Claim.ClaimName == "":
			t.refuse(at, "name a volume with persistentVolumeClaim.claimName")
		default:
			ours := fmt.Sprintf("spec.volumes[%d]", len(volumes))
			t.origins[ours], t.origins[ours+".volumeId"] = at, at+".persistentVolumeClaim.claimName"
			volumes = append(volumes, openapi.PodVolume{Name: v.Name})
			out.VolumeNames[v.Name] = v.Claim.ClaimName
			t.readOnly[v.Name] = v.Claim.ReadOnly
		}
	}
	if volumes != nil {
		out.Spec.Volumes = &volumes
	}
}

func (t *translation) container(c *kubernetesContainer, at string) openapi.Container {
	out := openapi.Container{Name: c.Name, Image: c.Image, RestartPolicy: c.RestartPolicy, Limits: t.limits(c)}
	if c.WorkingDir != "" {
		out.WorkingDir = &c.WorkingDir
	}
	for j, p := range c.Ports {
		if p.HostPort != 0 {
			t.refuse(fmt.Sprintf("%s.ports[%d].hostPort", at, j), "a pod has an address of its own; leave the field out")
		}
	}
	if len(c.Ports) > 0 {
		t.warn(at+".ports", "ignored: all ports of a pod are open to the tenant's other pods")
	}
	t.environment(c, at, &out)
	t.mounts(c, at, &out)
	t.security(c, at, &out)
	t.health(c, at, &out)
	if path := c.TerminationMessagePath; path != "" && path != "/dev/termination-log" {
		out.TerminationMessagePath = &path
	}
	switch c.TerminationMessagePolicy {
	case "", "File":
	case "FallbackToLogsOnError":
		yes := true
		out.TerminationMessageFromLog = &yes
	default:
		t.refuse(at+".terminationMessagePolicy", "expected File or FallbackToLogsOnError")
	}
	// The same fields with the same meaning. Their default is false.
	for said, to := range map[*bool]**bool{&c.Stdin: &out.Stdin, &c.StdinOnce: &out.StdinOnce, &c.TTY: &out.Tty} {
		if *said {
			*to = said
		}
	}
	return out
}

// environment sets the variables, the command and the arguments.
func (t *translation) environment(c *kubernetesContainer, at string, out *openapi.Container) {
	// Kubernetes replaces $(NAME) in a value by the value of a variable that precedes it.
	values, late := map[string]string{}, map[string]bool{}
	var env []openapi.EnvVar
	for j, e := range c.Env {
		if source := t.reference(e, fmt.Sprintf("%s.env[%d].valueFrom", at, j)); source != nil {
			late[e.Name] = true
			env = append(env, openapi.EnvVar{Name: e.Name, From: source})
			continue
		}
		t.knows(fmt.Sprintf("%s.env[%d].value", at, j), e.Value, late)
		value := expandVariables(e.Value, values)
		if e.From != nil {
			value = t.valueFrom(e, c.Name, fmt.Sprintf("%s.env[%d].valueFrom", at, j))
		}
		values[e.Name] = value
		env = append(env, openapi.EnvVar{Name: e.Name, Value: &value})
	}
	t.envFrom(c, at, out)
	t.variables[c.Name] = values
	if env != nil {
		out.Env = &env
	}
	for from, to := range map[*[]string]**[]string{&c.Command: &out.Command, &c.Args: &out.Args} {
		if *from == nil {
			continue
		}
		words := make([]string, len(*from))
		for i, word := range *from {
			t.knows(at, word, late)
			words[i] = expandVariables(word, values)
		}
		*to = &words
	}
}

// knows refuses text that refers to a variable whose value is known only when the pod runs.
func (t *translation) knows(at, text string, late map[string]bool) {
	for name := range late {
		if strings.Contains(strings.ReplaceAll(text, "$$", ""), "$("+name+")") {
			t.refuse(at, "the value of $(%s) is not known when the document is read; let a shell replace it: sh -c, with $%s", name, name)
		}
	}
}

func (t *translation) mounts(c *kubernetesContainer, at string, out *openapi.Container) {
	var mounts []openapi.VolumeMount
	var files []openapi.File
	for j, m := range c.VolumeMounts {
		if t.hidden[m.Name] {
			continue
		}
		from := fmt.Sprintf("%s.volumeMounts[%d]", at, j)
		target := m.MountPath
		if strings.HasPrefix(target, "/") {
			target = path.Clean(target)
		}
		if volume := t.downward[m.Name]; volume != nil {
			files = append(files, t.files(volume, m.Name, target, c.Name)...)
			continue
		}
		ours := fmt.Sprintf("%s.volumeMounts[%d]", at, len(mounts))
		t.origins[ours], t.origins[ours+".volume"] = from, from+".name"
		mount := openapi.VolumeMount{Volume: m.Name, MountPath: target}
		sub := m.SubPath
		if m.SubExpr != "" {
			sub = expandVariables(m.SubExpr, t.variables[c.Name])
			t.origins[ours+".subPath"] = from + ".subPathExpr"
		}
		if sub = path.Clean(sub); sub != "." {
			mount.SubPath = &sub
		}
		if m.ReadOnly || t.readOnly[m.Name] {
			yes := true
			mount.ReadOnly = &yes
		}
		mounts = append(mounts, mount)
	}
	if mounts != nil {
		out.VolumeMounts = &mounts
	}
	var devices []openapi.VolumeDevice
	for j, d := range c.VolumeDevices {
		ours, from := fmt.Sprintf("%s.volumeDevices[%d]", at, len(devices)), fmt.Sprintf("%s.volumeDevices[%d]", at, j)
		t.origins[ours], t.origins[ours+".volume"] = from, from+".name"
		devices = append(devices, openapi.VolumeDevice{Volume: d.Name, DevicePath: d.DevicePath})
	}
	if devices != nil {
		out.VolumeDevices = &devices
	}
	if files != nil {
		out.Files = &files
	}
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
