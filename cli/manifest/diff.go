// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"husk/cli/manifest/tree"
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
	return tree.Diff(completed(want.Spec), completed(have.Spec))
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
	if want.Encrypted != nil {
		got.Encrypted = have.Encrypted
	}
	if want.FsType != nil {
		got.FsType = &have.FsType
	}
	got.Source, got.Flatten = want.Source, want.Flatten // what only a new volume has
	return tree.Diff(tree.Of(want), tree.Of(got))
}

// completed returns a spec with the API's defaults, as a tree.
func completed(spec openapi.PodSpec) any { return tree.Of(map[string]any{"spec": CompletePod(spec)}) }

// CompletePod returns a spec with the API's defaults.
func CompletePod(spec openapi.PodSpec) openapi.PodSpec {
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
	return spec
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
