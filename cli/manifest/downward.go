// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"husk/openapi"
)

// Fields of the pod itself in variables and files. Husk knows them when it reads the document, so they become plain text.
type (
	kubernetesFieldRef struct {
		APIVersion string `json:"apiVersion"`
		Path       string `json:"fieldPath"`
	}
	kubernetesResourceRef struct {
		Container string       `json:"containerName"`
		Resource  string       `json:"resource"`
		Divisor   quantityText `json:"divisor"`
	}
	kubernetesDownward struct {
		DefaultMode fileMode `json:"defaultMode"`
		Items       []struct {
			Path     string                 `json:"path"`
			Mode     fileMode               `json:"mode"`
			Field    *kubernetesFieldRef    `json:"fieldRef"`
			Resource *kubernetesResourceRef `json:"resourceFieldRef"`
		} `json:"items"`
	}
)

// quantityText is a quantity whose unit another field decides.
type quantityText string

func (q *quantityText) set(text string) error {
	*q = quantityText(text)
	return nil
}

// fileMode is a mode in octal, such as 0644, or in decimal, as kubectl prints it.
type fileMode string

func (m *fileMode) set(text string) error {
	base := 10
	if strings.HasPrefix(text, "0") {
		base = 8
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), base, 32)
	if err != nil || n > 0o777 {
		return errors.New("expected a file mode such as 0644")
	}
	*m = fileMode(fmt.Sprintf("%04o", n))
	return nil
}

func (t *translation) valueFrom(e kubernetesEnv, container, at string) string {
	switch {
	case e.Value != "":
		t.refuse(at, "give value or valueFrom, not both")
	case e.From.Field != nil:
		return t.fieldValue(*e.From.Field, at+".fieldRef.fieldPath", false)
	case e.From.Resource != nil:
		return t.resourceValue(*e.From.Resource, container, at+".resourceFieldRef")
	default:
		t.refuse(at, "give fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef")
	}
	return ""
}

// files returns the files of a volume of fields in one container.
func (t *translation) files(v *kubernetesDownward, name, target, container string) []openapi.File {
	i := slices.IndexFunc(t.pod.Spec.Volumes, func(other kubernetesVolume) bool { return other.Name == name })
	var out []openapi.File
	for j, item := range v.Items {
		at := fmt.Sprintf("spec.volumes[%d].downwardAPI.items[%d]", i, j)
		content := ""
		switch {
		case item.Path == "" || path.IsAbs(item.Path) || strings.Contains(item.Path, ".."):
			t.refuse(at+".path", "expected a path below the volume")
		case item.Field != nil:
			content = t.fieldValue(*item.Field, at+".fieldRef.fieldPath", true)
		case item.Resource != nil:
			content = t.resourceValue(*item.Resource, container, at+".resourceFieldRef")
		default:
			t.refuse(at, "give fieldRef or resourceFieldRef")
		}
		mode := string(item.Mode)
		if mode == "" {
			mode = string(v.DefaultMode)
		}
		if mode == "" {
			mode = defaultFileMode
		}
		out = append(out, openapi.File{Path: path.Join(target, item.Path), Content: &content, Mode: &mode})
	}
	return out
}

// fieldValue returns a field of the pod.
func (t *translation) fieldValue(ref kubernetesFieldRef, at string, inFile bool) string {
	m := t.pod.Metadata
	name, key, isMap := strings.Cut(strings.TrimSuffix(ref.Path, "']"), "['")
	switch {
	case ref.Path == "metadata.name":
		return m.Name
	case ref.Path == "metadata.namespace" && m.Namespace != "":
		return m.Namespace
	case ref.Path == "metadata.namespace":
		return "default"
	case ref.Path == "spec.serviceAccountName" && t.pod.Spec.ServiceAccountName != "":
		return t.pod.Spec.ServiceAccountName
	case ref.Path == "spec.serviceAccountName":
		return "default"
	case name == "metadata.labels" && isMap:
		return m.Labels[key]
	case name == "metadata.annotations" && isMap:
		return m.Annotations[key]
	case ref.Path == "metadata.labels" && inFile:
		return allOf(m.Labels)
	case ref.Path == "metadata.annotations" && inFile:
		return allOf(m.Annotations)
	}
	t.refuse(at, "the value of %s is not known before the pod runs; only the pod's name, namespace, labels, annotations and service account are supported", ref.Path)
	return ""
}

// allOf writes labels or annotations as Kubernetes does.
func allOf(values map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		lines = append(lines, key+"="+strconv.Quote(values[key]))
	}
	return strings.Join(lines, "\n")
}

// resourceValue returns a limit or request of a container in units of the divisor, rounded up.
func (t *translation) resourceValue(ref kubernetesResourceRef, container, at string) string {
	if ref.Container == "" {
		ref.Container = container
	}
	containers := slices.Concat(t.pod.Spec.InitContainers, t.pod.Spec.Containers)
	i := slices.IndexFunc(containers, func(c kubernetesContainer) bool { return c.Name == ref.Container })
	if i < 0 {
		t.refuse(at+".containerName", "the pod has no container named %q", ref.Container)
		return ""
	}
	r := containers[i].Resources
	var amount int64
	per := int64(1)
	switch ref.Resource { // a container without a limit can use the whole virtual machine
	case "limits.cpu":
		amount, per = firstOf(int64(r.Limits.CPU), int64(t.size.CPUMillis)), 1000
	case "limits.memory":
		amount = firstOf(int64(r.Limits.Memory), int64(t.size.MemoryMiB)<<20)
	case "limits.ephemeral-storage":
		amount = firstOf(int64(r.Limits.Storage), t.storage<<30)
	case "requests.ephemeral-storage":
		amount = firstOf(int64(r.Requests.Storage), int64(r.Limits.Storage))
	case "requests.cpu":
		amount, per = firstOf(int64(r.Requests.CPU), int64(r.Limits.CPU)), 1000
	case "requests.memory":
		amount = firstOf(int64(r.Requests.Memory), int64(r.Limits.Memory))
	default:
		t.refuse(at+".resource", "only limits and requests of cpu, memory and ephemeral-storage are supported")
		return ""
	}
	divisor := per
	if ref.Divisor != "" && ref.Divisor != "0" { // kubectl prints 0 for the default
		n, ok := quantity(string(ref.Divisor), per)
		if !ok {
			t.refuse(at+".divisor", "expected an amount such as 1m or 1Mi")
			return ""
		}
		divisor = n
	}
	units := amount / divisor
	if amount%divisor > 0 {
		units++
	}
	return strconv.FormatInt(units, 10)
}

func firstOf(a, b int64) int64 {
	if a > 0 {
		return a
	}
	return b
}
