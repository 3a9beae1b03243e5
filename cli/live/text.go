// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"husk/cli/manifest"
	"husk/cli/manifest/tree"
	"husk/cli/print"
	"husk/openapi"
)

// Text returns a document as YAML, with the defaults of the API and without what makes no difference. Two documents of the same object have the
// same text.
func Text(d manifest.Document) (string, error) {
	var out bytes.Buffer
	err := print.YAML(&out, ordered{form(d)})
	return out.String(), err
}

// form returns a document in its JSON form.
func form(d manifest.Document) map[string]any {
	switch {
	case d.Pod != nil:
		f := whole("Pod", map[string]any{"name": d.Pod.Name}, d.Pod.Labels, d.Pod.Annotations)
		f["spec"] = podSpec(*d.Pod) // an empty directory has no fields
		return f
	case d.Volume != nil:
		return whole("Volume", d.Volume, d.Volume.Labels, nil)
	case d.Image != nil:
		return whole("Image", d.Image, nil, nil)
	case d.Config != nil:
		f := whole(string(d.Config.Kind), map[string]any{"name": d.Config.Name}, d.Config.Labels, nil)
		if len(openapi.Value(d.Config.Values)) > 0 { // an empty value is a value
			f["values"] = *d.Config.Values
		}
		if len(openapi.Value(d.Config.BinaryValues)) > 0 {
			f["binaryValues"] = *d.Config.BinaryValues
		}
		return f
	case d.Network != nil:
		return whole("Network", d.Network, d.Network.Labels, nil)
	case d.Service != nil:
		return whole("Service", manifest.CompleteService(*d.Service), d.Service.Labels, nil)
	case d.Ingress != nil:
		i := *d.Ingress
		i.Rules = manifest.CompleteRules(i.Rules)
		if openapi.Value(i.HstsSeconds) == 0 {
			i.HstsSeconds = nil
		}
		return whole("Ingress", i, i.Labels, nil)
	case d.Address != nil:
		a := manifest.CompleteAddress(d.Address.AddressCreate)
		target := map[string]any{"service": d.Address.Service, "pod": d.Address.Pod}
		if a.Target != nil {
			target["ports"] = a.Target.Ports
		}
		return whole("Address", map[string]any{"name": a.Name, "deleteWithTarget": a.DeleteWithTarget, "target": target}, a.Labels, nil)
	default:
		g := manifest.CompleteGroup(*d.Group)
		return whole("SecurityGroup", g, g.Labels, nil)
	}
}

// whole returns a body with the header of its kind. A label with an empty value is a label.
func whole(kind string, body any, labels *openapi.Labels, annotations *openapi.Annotations) map[string]any {
	f, _ := tree.Of(body).(map[string]any)
	delete(f, "labels")
	f["apiVersion"], f["kind"] = manifest.APIVersion, kind
	if len(openapi.Value(labels)) > 0 {
		f["labels"] = *labels
	}
	if len(openapi.Value(annotations)) > 0 {
		f["annotations"] = *annotations
	}
	return f
}

// podSpec returns the spec of a pod, with the names of volumes whose IDs are not known.
func podSpec(p manifest.Pod) any {
	spec := tree.Of(manifest.CompletePod(p.Spec))
	s, _ := spec.(map[string]any)
	volumes, _ := s["volumes"].([]any)
	for i, v := range openapi.Value(p.Spec.Volumes) {
		shown, _ := volumes[i].(map[string]any)
		switch {
		case v.EmptyDir != nil && shown["emptyDir"] == nil:
			shown["emptyDir"] = map[string]any{}
		case v.VolumeID == nil && p.VolumeNames[v.Name] != "":
			shown["volumeName"] = p.VolumeNames[v.Name]
		case v.SnapshotID == nil && p.SnapshotNames[v.Name] != "":
			shown["snapshotName"] = p.SnapshotNames[v.Name]
		}
	}
	return spec
}

// first are the fields that an object begins with. The others follow in alphabetical order.
var first = []string{"apiVersion", "kind", "name", "labels", "annotations", "image"}

// ordered writes the fields of objects in the order in which people write them.
type ordered struct{ v any }

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	switch v := o.v.(type) {
	case map[string]any:
		var b bytes.Buffer
		b.WriteByte('{')
		for i, key := range slices.SortedFunc(maps.Keys(v), before) {
			if i > 0 {
				b.WriteByte(',')
			}
			name, err := json.Marshal(key)
			if err != nil {
				return nil, err
			}
			value, err := json.Marshal(ordered{v[key]})
			if err != nil {
				return nil, err
			}
			b.Write(name)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return b.Bytes(), nil
	case []any:
		all := make([]ordered, len(v))
		for i := range v {
			all[i] = ordered{v[i]}
		}
		return json.Marshal(all)
	default:
		return json.Marshal(v)
	}
}

// before compares the names of two fields of an object.
func before(a, b string) int {
	at := func(name string) int {
		if i := slices.Index(first, name); i >= 0 {
			return i
		}
		return len(first)
	}
	if d := at(a) - at(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}
