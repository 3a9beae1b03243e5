// SPDX-License-Identifier: Apache-2.0

// Package tree compares objects in their JSON form, without what makes no difference.
package tree

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Diff returns the paths of the fields in which two trees differ, in order.
func Diff(want, have any) []string {
	var paths []string
	compare(want, have, "", &paths)
	return paths
}

// Of returns the JSON form of a value, without empty strings, lists and objects, false and null.
func Of(v any) any {
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
			compare(a[k], b[k], Join(path, k), paths)
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

// Join returns the path of a field.
func Join(path, name string) string {
	if strings.ContainsAny(name, ".[] ") {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
