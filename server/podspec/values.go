// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"husk"
)

// checkFiles checks a volume with the values of a config or secret.
func checkFiles(at string, v husk.PodVolume) error {
	ref, files := v.Files()
	if files == nil {
		return nil
	}
	at += "." + strings.ToLower(string(ref.Kind))
	seen, dirs := map[string]bool{}, map[string]bool{}
	for i, item := range files.Items {
		field := fmt.Sprintf("%s.items[%d].path", at, i)
		name := item.Path
		if name == "" {
			name = item.Key
		}
		if err := (husk.ConfigFile{Path: name}).CheckPath(field); err != nil {
			return err
		}
		if dirs[name] {
			return husk.Errorf(husk.CodeInvalid, field, "the path %s is a directory of another item", name)
		}
		for p := name; p != "."; p = path.Dir(p) {
			if seen[p] {
				return husk.Errorf(husk.CodeInvalid, field, "another item has the path %s", p)
			}
			if p != name {
				dirs[p] = true
			}
		}
		seen[name] = true
	}
	return nil
}

// checkEnv checks where variables come from.
func checkEnv(field string, c husk.Container) error {
	for i, e := range c.EnvFrom {
		if count(e.Config != "", e.Secret != "") != 1 {
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
		case count(e.From.Config != "", e.From.Secret != "", e.From.Field != "") != 1:
			return husk.Errorf(husk.CodeInvalid, at+".from", "give exactly one of config, secret and field")
		case (e.From.Field == "") != (e.From.Key != ""):
			return husk.Errorf(husk.CodeInvalid, at+".from.key", "a config and a secret need a key; a field has none")
		case e.From.Field != "" && !slices.Contains(husk.PodFields, e.From.Field) && !strings.HasPrefix(e.From.Field, husk.LabelField):
			return husk.Errorf(husk.CodeInvalid, at+".from.field", "%q is not %s, or %s and the name of a label", e.From.Field, strings.Join(husk.PodFields, ", "), husk.LabelField)
		}
	}
	return nil
}
