// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"husk/openapi"
)

// Defaults of the API.
const (
	defaultGraceSeconds = 30
	defaultFileMode     = "0644"
	defaultMaxSkew      = 1

	defaultAffinitySeconds = 10_800
)

// DiffPod returns the paths of the fields in which the specs of a document and of an existing pod differ, in order. A missing field has its default.
func DiffPod(want openapi.PodCreate, have openapi.Pod) []string {
	return diff(completed(want.Spec), completed(have.Spec))
}

// DiffVolume returns the paths of the fields in which a document and an existing volume differ.
func DiffVolume(want openapi.VolumeCreate, have openapi.Volume) []string {
	got := openapi.VolumeCreate{Name: have.Name, SizeGiB: have.SizeGiB, Labels: &have.Labels}
	if want.SnapshotSchedule != nil {
		got.SnapshotSchedule = have.SnapshotSchedule
	}
	if want.Class != nil {
		got.Class = have.Class
	}
	if want.FsType != nil {
		got.FsType = &have.FsType
	}
	return diff(tree(want), tree(got))
}

func diff(want, have any) []string {
	var paths []string
	compare(want, have, "", &paths)
	return paths
}

// completed returns a spec with the API's defaults, as a tree.
func completed(spec openapi.PodSpec) any {
	if spec.RestartPolicy == nil {
		always := openapi.Always
		spec.RestartPolicy = &always
	}
	if spec.TerminationGracePeriodSeconds == nil {
		grace := defaultGraceSeconds
		spec.TerminationGracePeriodSeconds = &grace
	}
	spec.Scheduling = completedScheduling(spec.Scheduling)
	values := map[string]bool{} // the volumes with values, which containers can only read
	for _, v := range openapi.Value(spec.Volumes) {
		values[v.Name] = v.Config != nil || v.Secret != nil || v.Projected != nil
	}
	spec.Containers = completedContainers(spec.Containers, values)
	if spec.InitContainers != nil {
		all := completedContainers(*spec.InitContainers, values)
		spec.InitContainers = &all
	}
	return tree(map[string]any{"spec": spec})
}

func completedContainers(containers []openapi.Container, values map[string]bool) []openapi.Container {
	containers = slices.Clone(containers)
	for i, c := range containers {
		if c.Files != nil {
			files := slices.Clone(*c.Files)
			for j := range files {
				if files[j].Mode == nil || *files[j].Mode == "" {
					mode := defaultFileMode
					files[j].Mode = &mode
				}
			}
			containers[i].Files = &files
		}
		if c.VolumeMounts != nil {
			mounts := slices.Clone(*c.VolumeMounts)
			for j := range mounts {
				if values[mounts[j].Volume] {
					mounts[j].ReadOnly = new(true)
				}
			}
			containers[i].VolumeMounts = &mounts
		}
	}
	return containers
}

// completedScheduling returns constraints with the API's defaults.
func completedScheduling(have *openapi.Scheduling) *openapi.Scheduling {
	if have == nil {
		return nil
	}
	s := *have
	if s.Priority != nil && *s.Priority == 0 {
		s.Priority = nil
	}
	if s.Rules != nil {
		rules := slices.Clone(*s.Rules)
		for i := range rules {
			if rules[i].Kind == openapi.Spread && rules[i].MaxSkew == nil {
				skew := defaultMaxSkew
				rules[i].MaxSkew = &skew
			}
		}
		s.Rules = &rules
	}
	return &s
}

// tree returns the JSON form of a value, without empty strings, lists and objects, false and null.
func tree(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of the contract all have a JSON form
	}
	var t any
	if err := json.Unmarshal(raw, &t); err != nil {
		panic(err) // it was marshalled a line above
	}
	return pruned(t)
}

func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			if item = pruned(item); item == nil {
				delete(v, k)
			} else {
				v[k] = item
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			if _, isText := v[i].(string); !isText { // an empty argument counts
				v[i] = pruned(v[i])
			}
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

func compare(want, have any, path string, paths *[]string) {
	a, isMap := want.(map[string]any)
	b, alsoMap := have.(map[string]any)
	if isMap && alsoMap {
		keys := map[string]bool{}
		for k := range a {
			keys[k] = true
		}
		for k := range b {
			keys[k] = true
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			compare(a[k], b[k], join(path, k), paths)
		}
		return
	}
	l, isList := want.([]any)
	m, alsoList := have.([]any)
	if isList && alsoList && len(l) == len(m) {
		for i := range l {
			compare(l[i], m[i], fmt.Sprintf("%s[%d]", path, i), paths)
		}
		return
	}
	if !reflect.DeepEqual(want, have) {
		*paths = append(*paths, path)
	}
}
