// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Projection is a part of a volume of files. Exactly one field is set.
type Projection struct {
	Config *ConfigFiles    `json:"config,omitempty"`
	Secret *ConfigFiles    `json:"secret,omitempty"`
	Files  []ProjectedFile `json:"files,omitempty"`

	At string `json:"-"` // its place in the spec
}

// ProjectedFile is a file with a field of the pod, or with a text.
type ProjectedFile struct {
	Path    string `json:"path"` // relative to the mount point
	Field   string `json:"field,omitempty"`
	Content string `json:"content,omitempty"`
	Mode    string `json:"mode,omitempty"` // octal
}

// HasFiles reports whether the volume has files with values.
func (v PodVolume) HasFiles() bool { return v.Config != nil || v.Secret != nil || len(v.Projected) > 0 }

// Projections returns the parts of a volume of files, and nothing for another volume. at is the volume's place in the spec.
func (v PodVolume) Projections(at string) []Projection {
	switch {
	case v.Config != nil:
		return []Projection{{Config: v.Config, At: at + ".config"}}
	case v.Secret != nil:
		return []Projection{{Secret: v.Secret, At: at + ".secret"}}
	}
	parts := slices.Clone(v.Projected)
	for i := range parts {
		kind := ".files"
		if ref, values := parts[i].Values(); values != nil {
			kind = "." + strings.ToLower(string(ref.Kind))
		}
		parts[i].At = at + ".projected[" + strconv.Itoa(i) + "]" + kind
	}
	return parts
}

// Values returns the config or secret whose values are the files, or nil if there is none.
func (p Projection) Values() (ConfigRef, *ConfigFiles) {
	switch {
	case p.Config != nil:
		return ConfigRef{ConfigPlain, p.Config.Name}, p.Config
	case p.Secret != nil:
		return ConfigRef{ConfigSecret, p.Secret.Name}, p.Secret
	default:
		return ConfigRef{}, nil
	}
}

// FilesOf returns the files of a volume of this pod. Of several files with one path, it returns the last one.
func (p Pod) FilesOf(v PodVolume, configs map[ConfigRef]Values) []VolumeFile {
	var files []VolumeFile
	for _, part := range v.Projections("") {
		ref, values := part.Values()
		if values != nil {
			files = append(files, values.FilesOf(configs[ref])...)
			continue
		}
		for _, f := range part.Files {
			content, known := f.Content, true
			if f.Field != "" {
				content, known = p.fileField(f.Field)
			}
			mode := f.Mode
			if mode == "" {
				mode = "0644"
			}
			if known {
				files = append(files, VolumeFile{Path: f.Path, Mode: mode, ContentBase64: base64.StdEncoding.EncodeToString([]byte(content))})
			}
		}
	}
	last := make(map[string]int, len(files))
	for i, f := range files {
		last[f.Path] = i
	}
	kept := files[:0]
	for i, f := range files {
		if last[f.Path] == i {
			kept = append(kept, f)
		}
	}
	return kept
}

// fileField returns a field as the content of a file, which can have all labels or annotations.
func (p Pod) fileField(name string) (string, bool) {
	switch name {
	case "labels":
		return lines(p.Labels), true
	case "annotations":
		return lines(p.Annotations), true
	default:
		return p.field(name)
	}
}

// lines writes labels or annotations as Kubernetes does.
func lines(values map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, key+"="+strconv.Quote(values[key]))
	}
	return strings.Join(all, "\n")
}

// projectedBytes is how much a field adds to the guest's frame, at most: all annotations of a pod.
const projectedBytes = 64 << 10

// ProjectedBytes returns how much the files of volumes that have no values of configs add to the guest's frame, at most.
func (s PodSpec) ProjectedBytes() int {
	n := 0
	for _, v := range s.Volumes {
		for _, part := range v.Projected {
			for _, f := range part.Files {
				n += configOverhead + jsonBytes(f.Path) + base64.StdEncoding.EncodedLen(len(f.Content))
				if f.Field == "labels" || f.Field == "annotations" {
					n += projectedBytes
				}
			}
		}
	}
	return n
}
