// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"husk"
)

// checkFiles checks a volume of files.
func checkFiles(at string, v husk.PodVolume) error {
	for i, p := range v.Projected {
		if count(p.Config != nil, p.Secret != nil, len(p.Files) > 0) != 1 {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("%s.projected[%d]", at, i), "give exactly one of config, secret and files")
		}
	}
	for _, part := range v.Projections(at) {
		var names []string
		for i, f := range part.Files {
			names = append(names, f.Path)
			field := fmt.Sprintf("%s[%d].field", part.At, i)
			switch {
			case f.Field != "" && f.Content != "":
				return husk.Errorf(husk.CodeInvalid, field, "give field or content, not both")
			case f.Field != "" && f.Field != "labels" && f.Field != "annotations":
				if err := checkField(field, f.Field); err != nil {
					return err
				}
			}
		}
		format := part.At + "[%d].path"
		if _, values := part.Values(); values != nil {
			format = part.At + ".items[%d].path"
			for _, item := range values.Items {
				names = append(names, cmp.Or(item.Path, item.Key))
			}
		}
		if err := checkPaths(format, names); err != nil {
			return err
		}
	}
	return nil
}

// checkPaths checks that paths stay in their volume, and that none is a directory of another.
func checkPaths(format string, names []string) error {
	seen, dirs := map[string]bool{}, map[string]bool{}
	for i, name := range names {
		field := fmt.Sprintf(format, i)
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
		case e.From.Field != "":
			if err := checkField(at+".from.field", e.From.Field); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkField(at, name string) error {
	if slices.Contains(husk.PodFields, name) || strings.HasPrefix(name, husk.LabelField) || strings.HasPrefix(name, husk.AnnotationField) {
		return nil
	}
	return husk.Errorf(husk.CodeInvalid, at, "%q is not %s, or %s or %s and a name", name, strings.Join(husk.PodFields, ", "), husk.LabelField, husk.AnnotationField)
}
