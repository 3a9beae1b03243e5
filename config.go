// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"encoding/base64"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ConfigKind says whether the API returns the values of a config.
type ConfigKind string

// The kinds of configs.
const (
	ConfigPlain  ConfigKind = "Config"
	ConfigSecret ConfigKind = "Secret" // no response of the API contains its values
)

// Limits of a config.
const (
	// MaxConfigBytes limits all keys and values of a config as JSON, where binary values are in base64.
	MaxConfigBytes = 512 << 10
	// MaxConfigKeys limits the keys of a config.
	MaxConfigKeys = 256
	maxConfigKey  = 253 // bytes, as in Kubernetes
)

// Config is named values of a tenant, for its pods. Of a secret, it has no values.
type Config struct {
	ID           uuid.UUID         `json:"id"`
	Kind         ConfigKind        `json:"kind"`
	Name         string            `json:"name"`
	Labels       map[string]string `json:"labels"`
	Version      int64             `json:"version"` // grows with every change of the values
	Keys         []ConfigKey       `json:"keys"`
	Values       map[string]string `json:"values,omitempty"`       // text
	BinaryValues map[string]string `json:"binaryValues,omitempty"` // everything else, in base64
	CreatedAt    time.Time         `json:"createdAt"`
	UpdatedAt    time.Time         `json:"updatedAt"`
}

// ConfigKey describes a value without revealing it.
type ConfigKey struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// Values are the values of a config, by key.
type Values map[string][]byte

// Keys returns names and sizes, in alphabetical order of the names.
func (v Values) Keys() []ConfigKey {
	keys := make([]ConfigKey, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		keys = append(keys, ConfigKey{name, len(v[name])})
	}
	return keys
}

// Split returns the values that are text, and the others in base64.
func (v Values) Split() (text, binary map[string]string) {
	text, binary = map[string]string{}, map[string]string{}
	for key, value := range v {
		if utf8.Valid(value) {
			text[key] = string(value)
		} else {
			binary[key] = base64.StdEncoding.EncodeToString(value)
		}
	}
	return text, binary
}

// GuestBytes returns how much a pod that gets all values once adds to its guest's frame, at most.
func (v Values) GuestBytes() int {
	n := 0
	for key, value := range v {
		asText := 0
		if utf8.Valid(value) {
			asText = jsonBytes(string(value))
		}
		n += jsonBytes(key) + max(asText, base64.StdEncoding.EncodedLen(len(value))) + configOverhead
	}
	return n
}

// configOverhead is what a value needs beyond itself: the field names of a file, and the prefix of a variable.
const configOverhead = 192

var configKeyForm = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// Check refuses values that no pod could use. Codes: invalid, too_large.
func (v Values) Check() error {
	if len(v) > MaxConfigKeys {
		return Errorf(CodeTooLarge, "values", "the object has %d keys; the limit is %d", len(v), MaxConfigKeys)
	}
	n := 0
	for key, value := range v {
		if !configKeyForm.MatchString(key) || len(key) > maxConfigKey || key == "." || strings.HasPrefix(key, "..") {
			return Errorf(CodeInvalid, "values", "the key %q is not valid: a key has up to %d letters, digits, '-', '_' and '.', and does not begin with '..'", key, maxConfigKey)
		}
		if n += len(key); utf8.Valid(value) {
			n += jsonBytes(string(value))
		} else {
			n += base64.StdEncoding.EncodedLen(len(value))
		}
	}
	if n > MaxConfigBytes {
		return Errorf(CodeTooLarge, "values", "the keys and values have %d bytes; the limit is %d", n, MaxConfigBytes)
	}
	return nil
}

// Changed returns the values after a change: nil removes a key.
func (v Values) Changed(text, binary map[string]*string) (Values, error) {
	changed := maps.Clone(v)
	if changed == nil {
		changed = Values{}
	}
	for key, value := range text {
		if delete(changed, key); value != nil {
			changed[key] = []byte(*value)
		}
	}
	for key, value := range binary {
		if _, twice := text[key]; twice {
			return nil, Errorf(CodeInvalid, "binaryValues", "the key %q is in values too; give it once", key)
		}
		delete(changed, key)
		if value == nil {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(*value)
		if err != nil {
			return nil, Errorf(CodeInvalid, "binaryValues", "the value of %q is not valid base64", key)
		}
		changed[key] = raw
	}
	return changed, changed.Check()
}

// ValueSource says where the value of a variable comes from: a key of a config or secret, or a field of the pod.
type ValueSource struct {
	Config   string `json:"config,omitempty"`
	Secret   string `json:"secret,omitempty"`
	Key      string `json:"key,omitempty"`
	Optional bool   `json:"optional,omitempty"`
	Field    string `json:"field,omitempty"`
}

// EnvSource is a config or secret whose keys become variables.
type EnvSource struct {
	Config   string `json:"config,omitempty"`
	Secret   string `json:"secret,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Optional bool   `json:"optional,omitempty"`
}

// ConfigFiles are the values of a config or secret as files in memory.
type ConfigFiles struct {
	Name     string       `json:"name"`
	Items    []ConfigFile `json:"items,omitempty"` // nil: all keys
	Mode     string       `json:"mode,omitempty"`  // octal
	Optional bool         `json:"optional,omitempty"`
}

// ConfigFile is one value as a file.
type ConfigFile struct {
	Key  string `json:"key"`
	Path string `json:"path,omitempty"` // relative to the mount point; empty: the key
	Mode string `json:"mode,omitempty"`
}

// ConfigRef names a config of a tenant.
type ConfigRef struct {
	Kind ConfigKind
	Name string
}

func refOf(config, secret string) ConfigRef {
	if secret != "" {
		return ConfigRef{ConfigSecret, secret}
	}
	return ConfigRef{ConfigPlain, config}
}

// Ref returns the config or secret, which has no name if the value is a field.
func (s ValueSource) Ref() ConfigRef { return refOf(s.Config, s.Secret) }

// Ref returns the config or secret.
func (s EnvSource) Ref() ConfigRef { return refOf(s.Config, s.Secret) }

// ConfigUse is a pod's use of a config.
type ConfigUse struct {
	Field    string          // of the pod, where it is used first
	Times    int             // how often the guest's frame has a value, at most
	Required map[string]bool // keys that must exist
	Optional bool            // it does not have to exist
}

// ConfigUses returns the configs and secrets that a pod uses.
func (s PodSpec) ConfigUses() map[ConfigRef]*ConfigUse {
	uses := map[ConfigRef]*ConfigUse{}
	use := func(ref ConfigRef, field string, optional bool) *ConfigUse {
		if uses[ref] == nil {
			uses[ref] = &ConfigUse{Field: field, Required: map[string]bool{}, Optional: true}
		}
		uses[ref].Optional = uses[ref].Optional && optional
		return uses[ref]
	}
	for i, v := range s.Volumes {
		for _, p := range v.Projections("spec.volumes[" + strconv.Itoa(i) + "]") {
			ref, files := p.Values()
			if files == nil {
				continue
			}
			u := use(ref, p.At+".name", files.Optional)
			u.Times += max(1, mostOften(files.Items, func(f ConfigFile) string { return f.Key }))
			for _, f := range files.Items {
				if !files.Optional {
					u.Required[f.Key] = true
				}
			}
		}
	}
	for i, c := range s.AllContainers() {
		at := s.ContainerField(i)
		for j, e := range c.EnvFrom {
			use(e.Ref(), at+".envFrom["+strconv.Itoa(j)+"]", e.Optional).Times++
		}
		times := map[ConfigRef][]string{}
		for j, e := range c.Env {
			if e.From == nil || e.From.Field != "" {
				continue
			}
			u := use(e.From.Ref(), at+".env["+strconv.Itoa(j)+"].from", e.From.Optional)
			if !e.From.Optional {
				u.Required[e.From.Key] = true
			}
			times[e.From.Ref()] = append(times[e.From.Ref()], e.From.Key)
		}
		for ref, keys := range times {
			uses[ref].Times += mostOften(keys, func(k string) string { return k })
		}
	}
	return uses
}

// mostOften returns how often the most frequent key occurs.
func mostOften[T any](items []T, key func(T) string) int {
	n, most := map[string]int{}, 0
	for _, item := range items {
		n[key(item)]++
		most = max(most, n[key(item)])
	}
	return most
}

// PodFields are the fields of a pod that variables may have, in addition to labels and annotations.
var PodFields = []string{"id", "name", "address", "nodeName", "cpuMillis", "memoryMiB"}

// LabelField begins the name of a field that is a label, and AnnotationField that of an annotation.
const (
	LabelField      = "labels."
	AnnotationField = "annotations."
)

func (p Pod) field(name string) (string, bool) {
	switch name {
	case "id":
		return p.ID.String(), true
	case "name":
		return p.Name, true
	case "address":
		return p.Status.Address, true
	case "nodeName":
		return p.Status.NodeName, true
	case "cpuMillis":
		return strconv.Itoa(p.Spec.Resources.CPUMillis), true
	case "memoryMiB":
		return strconv.Itoa(p.Spec.Resources.MemoryMiB), true
	}
	if label, isLabel := strings.CutPrefix(name, LabelField); isLabel {
		value, has := p.Labels[label]
		return value, has
	}
	annotation, isAnnotation := strings.CutPrefix(name, AnnotationField)
	value, has := p.Annotations[annotation]
	return value, isAnnotation && has
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Variables returns the environment that the pod's spec gives to a container. A variable whose value does not exist is left out: it is optional,
// or its key was removed since.
func (p Pod) Variables(c Container, configs map[ConfigRef]Values) []EnvVar {
	env := make([]EnvVar, 0, len(c.Env))
	for _, source := range c.EnvFrom {
		values := configs[source.Ref()]
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if name := source.Prefix + key; variableForm.MatchString(name) {
				env = append(env, EnvVar{Name: name, Value: variable(values[key])})
			}
		}
	}
	for _, e := range c.Env {
		switch {
		case e.From == nil:
			env = append(env, e)
		case e.From.Field != "":
			if value, ok := p.field(e.From.Field); ok {
				env = append(env, EnvVar{Name: e.Name, Value: value})
			}
		default:
			if value, ok := configs[e.From.Ref()][e.From.Key]; ok {
				env = append(env, EnvVar{Name: e.Name, Value: variable(value)})
			}
		}
	}
	return env
}

// variable returns a value as the value of a variable, which ends at a zero byte and is text.
func variable(value []byte) string {
	s, _, _ := strings.Cut(string(value), "\x00")
	return strings.ToValidUTF8(s, "\uFFFD")
}

// FilesOf returns the files of a volume of values. Its mode is the volume's, unless an item has its own.
func (f ConfigFiles) FilesOf(values Values) []VolumeFile {
	items := f.Items
	if items == nil {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			items = append(items, ConfigFile{Key: key})
		}
	}
	files := make([]VolumeFile, 0, len(items))
	for _, item := range items {
		value, ok := values[item.Key]
		if !ok {
			continue
		}
		file := VolumeFile{Path: item.Path, Mode: item.Mode, ContentBase64: base64.StdEncoding.EncodeToString(value)}
		if file.Path == "" {
			file.Path = item.Key
		}
		if file.Mode == "" {
			file.Mode = f.Mode
		}
		if file.Mode == "" {
			file.Mode = "0644"
		}
		files = append(files, file)
	}
	return files
}

// CheckPath refuses a path that leads out of its volume, or that is not in its shortest form.
func (f ConfigFile) CheckPath(field string) error {
	if f.Path == "" {
		return nil
	}
	if path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "." || strings.HasPrefix(f.Path, "..") || strings.ContainsRune(f.Path, 0) {
		return Errorf(CodeInvalid, field, "the path must be relative, must not contain '..' or '//', and must not end in a slash")
	}
	return nil
}
