// SPDX-License-Identifier: Apache-2.0

// Package podspec completes the specs of pods that tenants request: it fills in defaults, and checks what the schema of the contract cannot
// express. It returns problems that name the field.
package podspec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/limits"
)

// Complete fills in defaults, and checks what the schema of the contract cannot express.
func Complete(spec *husk.PodSpec) error {
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = husk.RestartAlways
	}
	if spec.EphemeralStorage != husk.StorageMemory {
		spec.EphemeralStorage = "" // the default
	} else if spec.EphemeralStorageGiB != 0 {
		return husk.Errorf(husk.CodeInvalid, "spec.ephemeralStorageGiB", "the pod writes to memory and has no scratch disk; leave ephemeralStorageGiB or ephemeralStorage out")
	}
	if err := checkNames(&spec.HostSettings); err != nil {
		return err
	}
	volumes := map[string]husk.PodVolume{}
	volumeIDs := map[uuid.UUID]bool{} // also of snapshots
	for i, v := range spec.Volumes {
		if _, twice := volumes[v.Name]; twice {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].name", i), "two volumes are named %q", v.Name)
		}
		at := fmt.Sprintf("spec.volumes[%d]", i)
		if kinds := count(v.VolumeID != uuid.Nil, v.SnapshotID != uuid.Nil, v.Config != nil, v.Secret != nil, len(v.Projected) > 0, v.EmptyDir != nil); kinds != 1 {
			return husk.Errorf(husk.CodeInvalid, at, "give exactly one of volumeId, snapshotId, config, secret, projected and emptyDir")
		}
		if err := checkFiles(at, v); err != nil {
			return err
		}
		if v.VolumeID != uuid.Nil && volumeIDs[v.VolumeID] {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].volumeId", i), "the volume is listed twice")
		}
		if v.SnapshotID != uuid.Nil && volumeIDs[v.SnapshotID] {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].snapshotId", i), "the snapshot is listed twice")
		}
		volumes[v.Name], volumeIDs[v.VolumeID], volumeIDs[v.SnapshotID] = v, true, true
	}
	if err := spec.CheckMemory(""); err != nil {
		return err
	}
	containers := spec.AllContainers()
	if len(containers) > limits.Containers {
		return husk.Errorf(husk.CodeInvalid, "spec.initContainers", "the pod has %d containers; the limit is %d", len(containers), limits.Containers)
	}
	if err := checkNetworks(spec.Networks); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range containers {
		c := &containers[i]
		field := spec.ContainerField(i)
		if names[c.Name] {
			return husk.Errorf(husk.CodeInvalid, field+".name", "two containers are named %q", c.Name)
		}
		names[c.Name] = true
		if err := completeContainer(c, field, volumes); err != nil {
			return err
		}
		if err := completeOptions(c, field, i < len(spec.InitContainers), spec.RestartPolicy); err != nil {
			return err
		}
	}
	return nil
}

// checkNetworks refuses a network that is there twice. The store knows which networks and addresses there are.
func checkNetworks(networks []husk.PodNetwork) error {
	for i, n := range networks {
		if slices.ContainsFunc(networks[:i], func(other husk.PodNetwork) bool { return other.Network == n.Network }) {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.networks[%d].network", i), "the pod is in the network %q already", n.Network)
		}
	}
	return nil
}

// CompleteScheduling fills in defaults, and checks that the pod has the labels that its rules refer to.
func CompleteScheduling(s *husk.Scheduling, labels map[string]string) error {
	if s == nil {
		return nil
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		field := fmt.Sprintf("spec.scheduling.rules[%d]", i)
		if r.MaxSkew != 0 && r.Kind != husk.RuleSpread {
			return husk.Errorf(husk.CodeInvalid, field+".maxSkew", "maxSkew applies to rules of kind %s only", husk.RuleSpread)
		}
		if r.MaxSkew == 0 && r.Kind == husk.RuleSpread {
			r.MaxSkew = 1
		}
	}
	return s.CheckLabels(labels)
}

func cleanPath(p, field string) error {
	if path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return husk.Errorf(husk.CodeInvalid, field, "the path must be absolute, must not contain '..' or '//', must not end in a slash, and must not be the root")
	}
	return nil
}
