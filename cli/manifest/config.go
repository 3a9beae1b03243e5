// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/tree"
	"husk/openapi"
)

// ConfigMaps and Secrets of Kubernetes, and where a Pod refers to them. They become configs and secrets of Husk.
type (
	kubernetesConfig struct {
		header

		Metadata struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Data       map[string]string `json:"data"` // of a Secret, in base64
		BinaryData map[string]string `json:"binaryData"`
		StringData map[string]string `json:"stringData"`
		Immutable  bool              `json:"immutable"`
		Type       string            `json:"type"`
	}
	kubernetesKeyRef struct {
		Name     string `json:"name"`
		Key      string `json:"key"`
		Optional bool   `json:"optional"`
	}
	kubernetesEnvFrom struct {
		Prefix    string                  `json:"prefix"`
		ConfigMap *kubernetesOptionalName `json:"configMapRef"`
		Secret    *kubernetesOptionalName `json:"secretRef"`
	}
	kubernetesOptionalName struct {
		Name     string `json:"name"`
		Optional bool   `json:"optional"`
	}
	kubernetesConfigVolume struct {
		Name        string   `json:"name"`
		SecretName  string   `json:"secretName"`
		DefaultMode fileMode `json:"defaultMode"`
		Optional    bool     `json:"optional"`
		Items       []struct {
			Key  string   `json:"key"`
			Path string   `json:"path"`
			Mode fileMode `json:"mode"`
		} `json:"items"`
	}
)

func (c kubernetesConfig) translate(d *decoder, origins map[string]string) *openapi.ConfigCreate {
	if d.err() != nil {
		return nil
	}
	d.checkName("metadata.name", c.Metadata.Name)
	origins["name"], origins["labels"], origins["values"], origins["binaryValues"] = "metadata.name", "metadata.labels", "data", "binaryData"
	out := openapi.ConfigCreate{Kind: openapi.ConfigKindConfig, Name: c.Metadata.Name}
	if len(c.Metadata.Labels) > 0 {
		labels := openapi.Labels(maps.Clone(c.Metadata.Labels))
		out.Labels = &labels
	}
	if c.Immutable {
		d.warn("immutable", "ignored: a config or secret can always be changed")
	}
	text := openapi.ConfigValues{}
	var binary openapi.ConfigBinaryValues
	if c.Kind == "Secret" {
		out.Kind = openapi.ConfigKindSecret
		binary = encoded(d, "data", c.Data)
		for key, value := range c.StringData {
			delete(binary, key) // as in Kubernetes, stringData takes precedence
			text[key] = &value
		}
	} else {
		if len(c.StringData) > 0 {
			d.refuse("stringData", "a ConfigMap has data and binaryData")
		}
		for key, value := range c.Data {
			text[key] = &value
		}
		binary = encoded(d, "binaryData", c.BinaryData)
	}
	if len(text) > 0 {
		out.Values = &text
	}
	if len(binary) > 0 {
		out.BinaryValues = &binary
	}
	return &out
}

// encoded checks values in base64, in which Kubernetes permits line breaks.
func encoded(d *decoder, at string, values map[string]string) openapi.ConfigBinaryValues {
	out := openapi.ConfigBinaryValues{}
	for key, value := range values {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			d.refuse(tree.Join(at, key), "expected base64; a Secret can have text in stringData")
			continue
		}
		clean := base64.StdEncoding.EncodeToString(raw)
		out[key] = &clean
	}
	return out
}

// configFields are the fields of a ConfigMap or Secret that Husk ignores, with a warning.
var configFields = map[string]string{
	"metadata.namespace":       "ignored: " + noNamespaces,
	"metadata.annotations":     "ignored: only pods have annotations",
	"metadata.finalizers":      "ignored: Husk has no finalizers",
	"metadata.ownerReferences": "ignored: an object of Husk has no owner",
}

func judgeConfigField(path string, value *yaml.Node) (refusal, warning string) {
	warning, known := configFields[path]
	switch {
	case isEmpty(value), slices.Contains(bookkeeping, path):
		return "", ""
	case known:
		return "", warning
	}
	return "Husk has no counterpart for this field; leave the field out", ""
}

// podFields are the fields of a Pod that are known only when it runs, and their names in Husk.
var podFields = map[string]string{
	"metadata.uid": "id", "status.podIP": "address", "status.podIPs": "address", "spec.nodeName": "nodeName",
}

// reference returns the source of a variable that is not known when the document is read, and nil if it is known.
func (t *translation) reference(e kubernetesEnv, at string) *openapi.ValueSource {
	from := func(config, secret *string, r *kubernetesKeyRef) *openapi.ValueSource {
		if r.Name == "" || r.Key == "" {
			t.refuse(at, "give name and key")
		}
		source := openapi.ValueSource{Config: config, Secret: secret, Key: &r.Key}
		if r.Optional {
			source.Optional = &r.Optional
		}
		return &source
	}
	switch {
	case e.From == nil:
		return nil
	case e.From.ConfigMap != nil:
		return from(&e.From.ConfigMap.Name, nil, e.From.ConfigMap)
	case e.From.Secret != nil:
		return from(nil, &e.From.Secret.Name, e.From.Secret)
	case e.From.Field != nil:
		if field, late := podFields[e.From.Field.Path]; late {
			return &openapi.ValueSource{Field: &field}
		}
	}
	return nil
}

// envFrom sets the configs and secrets whose keys become variables.
func (t *translation) envFrom(c *kubernetesContainer, at string, out *openapi.Container) {
	var sources []openapi.EnvSource
	for i, e := range c.EnvFrom {
		var source openapi.EnvSource
		var name *kubernetesOptionalName
		switch {
		case (e.ConfigMap == nil) == (e.Secret == nil):
			t.refuse(fmt.Sprintf("%s.envFrom[%d]", at, i), "give either configMapRef or secretRef")
			continue
		case e.ConfigMap != nil:
			name, source.Config = e.ConfigMap, &e.ConfigMap.Name
		default:
			name, source.Secret = e.Secret, &e.Secret.Name
		}
		if e.Prefix != "" {
			source.Prefix = &e.Prefix
		}
		if name.Optional {
			source.Optional = &name.Optional
		}
		sources = append(sources, source)
	}
	if sources != nil {
		out.EnvFrom = &sources
	}
}

// configFiles returns the volume with the values of a ConfigMap or Secret.
func (v kubernetesConfigVolume) configFiles(name string) *openapi.ConfigFiles {
	out := openapi.ConfigFiles{Name: name}
	if v.DefaultMode != "" && v.DefaultMode != defaultFileMode {
		mode := string(v.DefaultMode)
		out.Mode = &mode
	}
	if v.Optional {
		out.Optional = &v.Optional
	}
	var items []openapi.ConfigFile
	for _, item := range v.Items {
		file := openapi.ConfigFile{Key: item.Key}
		if item.Path != "" && item.Path != item.Key {
			file.Path = &item.Path
		}
		if item.Mode != "" {
			mode := string(item.Mode)
			file.Mode = &mode
		}
		items = append(items, file)
	}
	if items != nil {
		out.Items = &items
	}
	return &out
}
