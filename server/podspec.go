// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// completeSpec fills in defaults, and checks what the schema of the contract cannot express.
func completeSpec(spec *husk.PodSpec) error {
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = husk.RestartAlways
	}
	volumes := map[string]husk.PodVolume{}
	volumeIDs := map[store.ID]bool{}
	for i, v := range spec.Volumes {
		if _, twice := volumes[v.Name]; twice {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].name", i), "two volumes are named %q", v.Name)
		}
		at := fmt.Sprintf("spec.volumes[%d]", i)
		if kinds := countTrue(v.VolumeID != uuid.Nil, v.Config != nil, v.Secret != nil); kinds != 1 {
			return husk.Errorf(husk.CodeInvalid, at, "give exactly one of volumeId, config and secret")
		}
		if err := checkFiles(at, v); err != nil {
			return err
		}
		if v.VolumeID != uuid.Nil && volumeIDs[v.VolumeID] {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].volumeId", i), "the volume is listed twice")
		}
		volumes[v.Name], volumeIDs[v.VolumeID] = v, true
	}
	names := map[string]bool{}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		field := fmt.Sprintf("spec.containers[%d]", i)
		if names[c.Name] {
			return husk.Errorf(husk.CodeInvalid, field+".name", "two containers are named %q", c.Name)
		}
		names[c.Name] = true
		if err := completeContainer(c, field, volumes); err != nil {
			return err
		}
	}
	return nil
}

// completeScheduling fills in defaults, and checks that the pod has the labels that its rules refer to.
func completeScheduling(s *husk.Scheduling, labels map[string]string) error {
	if s == nil {
		return nil
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		field := fmt.Sprintf("spec.scheduling.rules[%d]", i)
		if _, has := labels[r.Label]; r.Value == "" && !has {
			return husk.Errorf(husk.CodeInvalid, field+".label", "the pod has no label %q; add the label to the pod, or set a value in the rule", r.Label)
		}
		if r.MaxSkew != 0 && r.Kind != husk.RuleSpread {
			return husk.Errorf(husk.CodeInvalid, field+".maxSkew", "maxSkew applies to rules of kind %s only", husk.RuleSpread)
		}
		if r.MaxSkew == 0 && r.Kind == husk.RuleSpread {
			r.MaxSkew = 1
		}
	}
	if d := s.Disruption; d != nil && d.Label != "" {
		if _, has := labels[d.Label]; !has {
			return husk.Errorf(husk.CodeInvalid, "spec.scheduling.disruption.label", "the pod has no label %q", d.Label)
		}
	}
	return nil
}

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
		if volume.VolumeID == uuid.Nil {
			m.ReadOnly = true // values are changed through the API only
		}
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
	texts := append(append([]string{c.WorkingDir, c.User}, c.Command...), c.Args...)
	for _, e := range c.Env {
		texts = append(texts, e.Name, e.Value)
	}
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return husk.Errorf(husk.CodeInvalid, field, "arguments, variables, users and directories cannot contain a zero byte")
		}
	}
	return nil
}

// checkFiles checks a volume with the values of a config or secret.
func checkFiles(at string, v husk.PodVolume) error {
	ref, files := v.Files()
	if files == nil {
		return nil
	}
	at += "." + strings.ToLower(string(ref.Kind))
	seen := map[string]bool{}
	for i, item := range files.Items {
		field := fmt.Sprintf("%s.items[%d].path", at, i)
		if err := item.CheckPath(field); err != nil {
			return err
		}
		name := item.Path
		if name == "" {
			name = item.Key
		}
		for p := name; p != "."; p = path.Dir(p) {
			if seen[p] {
				return husk.Errorf(husk.CodeInvalid, field, "another item has the path %s", p)
			}
		}
		seen[name] = true
	}
	return nil
}

// checkEnv checks where variables come from.
func checkEnv(field string, c husk.Container) error {
	for i, e := range c.EnvFrom {
		if countTrue(e.Config != "", e.Secret != "") != 1 {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("%s.envFrom[%d]", field, i), "give either config or secret")
		}
	}
	for i, e := range c.Env {
		if e.From == nil {
			continue
		}
		at := fmt.Sprintf("%s.env[%d]", field, i)
		switch {
		case e.Value != "":
			return husk.Errorf(husk.CodeInvalid, at, "give value or from, not both")
		case countTrue(e.From.Config != "", e.From.Secret != "", e.From.Field != "") != 1:
			return husk.Errorf(husk.CodeInvalid, at+".from", "give exactly one of config, secret and field")
		case (e.From.Field == "") != (e.From.Key != ""):
			return husk.Errorf(husk.CodeInvalid, at+".from.key", "a config and a secret need a key; a field has none")
		case e.From.Field != "" && !slices.Contains(husk.PodFields, e.From.Field) && !strings.HasPrefix(e.From.Field, husk.LabelField):
			return husk.Errorf(husk.CodeInvalid, at+".from.field", "%q is not %s, or %s and the name of a label", e.From.Field, strings.Join(husk.PodFields, ", "), husk.LabelField)
		}
	}
	return nil
}

func countTrue(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func cleanPath(p, field string) error {
	if path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return husk.Errorf(husk.CodeInvalid, field, "the path must be absolute, must not contain '..' or '//', must not end in a slash, and must not be the root")
	}
	return nil
}
