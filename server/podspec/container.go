// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk"
)

func completeContainer(c *husk.Container, field string, volumes map[string]husk.PodVolume) error {
	mounted := map[string]bool{}
	for j := range c.VolumeMounts {
		m := &c.VolumeMounts[j]
		at := fmt.Sprintf("%s.volumeMounts[%d]", field, j)
		volume, has := volumes[m.Volume]
		if !has {
			return husk.Errorf(husk.CodeInvalid, at+".volume", "the pod has no volume named %q", m.Volume)
		}
		if err := cleanPath(m.MountPath, at+".mountPath"); err != nil {
			return err
		}
		if mounted[m.MountPath] {
			return husk.Errorf(husk.CodeInvalid, at+".mountPath", "two volumes are mounted at %s", m.MountPath)
		}
		mounted[m.MountPath] = true
		if m.SubPath != "" {
			if path.IsAbs(m.SubPath) || path.Clean(m.SubPath) != m.SubPath || strings.HasPrefix(m.SubPath, "..") || strings.ContainsRune(m.SubPath, 0) {
				return husk.Errorf(husk.CodeInvalid, at+".subPath", "the path must be relative, must not contain '..' or '//', and must not end in a slash")
			}
		}
		if volume.HasFiles() || volume.SnapshotID != uuid.Nil {
			m.ReadOnly = true // values are changed through the API only, and snapshots never
		}
	}
	for j, d := range c.VolumeDevices {
		at := fmt.Sprintf("%s.volumeDevices[%d]", field, j)
		if volume, has := volumes[d.Volume]; !has || volume.VolumeID == uuid.Nil && volume.SnapshotID == uuid.Nil {
			return husk.Errorf(husk.CodeInvalid, at+".volume", "the pod has no volume named %q with a volumeId or a snapshotId", d.Volume)
		}
		if err := cleanPath(d.DevicePath, at+".devicePath"); err != nil {
			return err
		}
		if mounted[d.DevicePath] {
			return husk.Errorf(husk.CodeInvalid, at+".devicePath", "two volumes are at %s", d.DevicePath)
		}
		mounted[d.DevicePath] = true
	}
	if err := checkEnv(field, *c); err != nil {
		return err
	}
	for j := range c.Files {
		f := &c.Files[j]
		at := fmt.Sprintf("%s.files[%d]", field, j)
		if err := cleanPath(f.Path, at+".path"); err != nil {
			return err
		}
		if mounted[f.Path] {
			return husk.Errorf(husk.CodeInvalid, at+".path", "a volume is mounted at %s, so it cannot be a file", f.Path)
		}
		if f.Content != "" && f.ContentBase64 != "" {
			return husk.Errorf(husk.CodeInvalid, at, "give content or contentBase64, not both")
		}
		if _, err := base64.StdEncoding.DecodeString(f.ContentBase64); err != nil {
			return husk.Errorf(husk.CodeInvalid, at+".contentBase64", "the content is not valid base64")
		}
		if f.Mode == "" {
			f.Mode = "0644"
		}
	}
	if c.StdinOnce && !c.Stdin {
		return husk.Errorf(husk.CodeInvalid, field+".stdinOnce", "stdinOnce needs stdin: set stdin as well, or leave stdinOnce out")
	}
	texts := slices.Concat([]string{c.WorkingDir, c.User}, c.Command, c.Args)
	for _, e := range c.Env {
		texts = append(texts, e.Name, e.Value)
	}
	for _, probe := range probesOf(c) {
		texts = append(texts, probe.Exec...)
	}
	for _, hook := range hooksOf(c) {
		texts = append(texts, hook.Exec...)
	}
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return husk.Errorf(husk.CodeInvalid, field, "arguments, variables, users and directories cannot contain a zero byte")
		}
	}
	return nil
}

// completeOptions checks what a container is allowed to do and how it starts, lives and ends.
func completeOptions(c *husk.Container, field string, initial bool, ofPod husk.RestartPolicy) error {
	if policy := c.RestartPolicyIn(ofPod, initial); c.MaxRestarts > 0 && policy != husk.RestartOnFailure {
		return husk.Errorf(husk.CodeInvalid, field+".maxRestarts", "only a container with the restart policy %s has a maximum of restarts, and this one has %s; "+
			"set restartPolicy to %s, or leave maxRestarts out", husk.RestartOnFailure, policy, husk.RestartOnFailure)
	}
	if c.Privileged && c.NoNewPrivileges != nil && *c.NoNewPrivileges {
		return husk.Errorf(husk.CodeInvalid, field+".noNewPrivileges", "a privileged container already has all privileges; leave out privileged or noNewPrivileges")
	}
	if c.Privileged && len(c.CapabilitiesDrop) > 0 {
		return husk.Errorf(husk.CodeInvalid, field+".capabilitiesDrop", "a privileged container has all capabilities; leave out privileged or capabilitiesDrop")
	}
	if c.TerminationMessagePath != "" {
		if err := cleanPath(c.TerminationMessagePath, field+".terminationMessagePath"); err != nil {
			return err
		}
	}
	named := map[string]bool{}
	for i, u := range c.Ulimits {
		at := fmt.Sprintf("%s.ulimits[%d]", field, i)
		if named[u.Name] {
			return husk.Errorf(husk.CodeInvalid, at+".name", "the container has more than one ulimit %s; keep one", u.Name)
		}
		named[u.Name] = true
		if u.Hard >= 0 && (u.Soft < 0 || u.Soft > u.Hard) {
			return husk.Errorf(husk.CodeInvalid, at+".soft", "the soft limit of %s is above its hard limit %d; lower it, or raise the hard limit", u.Name, u.Hard)
		}
	}
	ends := initial && !c.Sidecar()
	for name, probe := range probesOf(c) {
		at := field + "." + name
		if ends {
			return husk.Errorf(husk.CodeInvalid, at, "an init container has no probes, because it ends before the others start; set its restartPolicy to Always, or leave the field out")
		}
		if n := count(probe.Exec != nil, probe.HTTPGet != nil, probe.TCPPort != 0, probe.GRPC != nil); n != 1 {
			return husk.Errorf(husk.CodeInvalid, at, "give exactly one of exec, httpGet, tcpPort and grpc")
		}
		if name != "readinessProbe" && probe.SuccessThreshold > 1 {
			return husk.Errorf(husk.CodeInvalid, at+".successThreshold", "only a readiness probe can have a success threshold above 1")
		}
		if name == "readinessProbe" && probe.GracePeriodSeconds > 0 {
			return husk.Errorf(husk.CodeInvalid, at+".terminationGracePeriodSeconds", "a readiness probe does not end its container; leave the field out")
		}
	}
	for name, hook := range hooksOf(c) {
		at := field + "." + name
		if ends {
			return husk.Errorf(husk.CodeInvalid, at, "an init container has no hooks, because it ends before the others start; set its restartPolicy to Always, or leave the field out")
		}
		if n := count(hook.Exec != nil, hook.HTTPGet != nil, hook.SleepSeconds != 0); n != 1 {
			return husk.Errorf(husk.CodeInvalid, at, "give exactly one of exec, httpGet and sleepSeconds")
		}
	}
	return nil
}

// probesOf returns the probes that the container has, by their fields.
func probesOf(c *husk.Container) map[string]*husk.Probe {
	probes := map[string]*husk.Probe{"startupProbe": c.StartupProbe, "readinessProbe": c.ReadinessProbe, "livenessProbe": c.LivenessProbe}
	maps.DeleteFunc(probes, func(_ string, p *husk.Probe) bool { return p == nil })
	return probes
}

// hooksOf returns the hooks that the container has, by their fields.
func hooksOf(c *husk.Container) map[string]*husk.Hook {
	hooks := map[string]*husk.Hook{"postStart": c.PostStart, "preStop": c.PreStop}
	maps.DeleteFunc(hooks, func(_ string, h *husk.Hook) bool { return h == nil })
	return hooks
}

func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}
