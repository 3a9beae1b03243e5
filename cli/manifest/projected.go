// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"

	"husk/openapi"
)

// kubernetesProjected is a volume of files from several sources.
type kubernetesProjected struct {
	DefaultMode fileMode `json:"defaultMode"`
	Sources     []struct {
		ConfigMap *kubernetesConfigVolume `json:"configMap"`
		Secret    *kubernetesConfigVolume `json:"secret"`
		Downward  *kubernetesDownward     `json:"downwardAPI"`
	} `json:"sources"`
}

func (t *translation) projected(v *kubernetesProjected, ours, at string) []openapi.Projection {
	var parts []openapi.Projection
	for i, s := range v.Sources {
		from, to := fmt.Sprintf("%s.sources[%d]", at, i), fmt.Sprintf("%s[%d]", ours, len(parts))
		t.origins[to] = from
		values := func(c *kubernetesConfigVolume, kind, origin string) *openapi.ConfigFiles {
			t.origins[to+"."+kind], t.origins[to+"."+kind+".name"] = from+"."+origin, from+"."+origin+".name"
			with := *c
			with.DefaultMode = v.DefaultMode
			return with.configFiles(c.Name)
		}
		switch {
		case s.ConfigMap != nil:
			parts = append(parts, openapi.Projection{Config: values(s.ConfigMap, "config", "configMap")})
		case s.Secret != nil:
			parts = append(parts, openapi.Projection{Secret: values(s.Secret, "secret", "secret")})
		case s.Downward != nil:
			files := t.projectedFields(s.Downward, v.DefaultMode, from+".downwardAPI")
			parts = append(parts, openapi.Projection{Files: &files})
		default:
			t.refuse(from, "give configMap, secret or downwardAPI")
		}
	}
	if len(parts) == 0 {
		t.refuse(at+".sources", "give at least one source")
	}
	return parts
}

// projectedFields returns the files with fields of the pod. Those that a change of the pod can change are read when it runs.
func (t *translation) projectedFields(d *kubernetesDownward, defaultMode fileMode, at string) []openapi.ProjectedFile {
	var files []openapi.ProjectedFile
	for i, item := range d.Items {
		at := fmt.Sprintf("%s.items[%d]", at, i)
		file := openapi.ProjectedFile{Path: item.Path}
		mode := item.Mode
		if mode == "" {
			mode = defaultMode
		}
		if mode != "" && mode != defaultFileMode {
			file.Mode = (*string)(&mode)
		}
		switch {
		case item.Field != nil:
			if field := projectedField(item.Field.Path); field != "" {
				file.Field = &field
			} else {
				content := t.fieldValue(*item.Field, at+".fieldRef.fieldPath", true)
				file.Content = &content
			}
		case item.Resource != nil:
			content := t.resourceValue(*item.Resource, item.Resource.Container, at+".resourceFieldRef")
			file.Content = &content
		default:
			t.refuse(at, "give fieldRef or resourceFieldRef")
		}
		files = append(files, file)
	}
	return files
}

// projectedField returns the name of a field in Husk, or nothing if the field is known only to the document.
func projectedField(path string) string {
	if field, late := podFields[path]; late {
		return field
	}
	name, key, isMap := strings.Cut(strings.TrimSuffix(path, "']"), "['")
	switch {
	case path == "metadata.name":
		return "name"
	case path == "metadata.labels", path == "metadata.annotations":
		return strings.TrimPrefix(path, "metadata.")
	case isMap && (name == "metadata.labels" || name == "metadata.annotations"):
		return strings.TrimPrefix(name, "metadata.") + "." + key
	}
	return ""
}
