// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"errors"
	"testing"

	"husk"
)

func TestProjectedVolumesAreChecked(t *testing.T) {
	t.Parallel()
	web := &husk.ConfigFiles{Name: "web"}
	for name, c := range map[string]struct {
		part  husk.Projection
		field string
	}{
		"a config":              {husk.Projection{Config: web}, ""},
		"files":                 {husk.Projection{Files: []husk.ProjectedFile{{Path: "a", Field: "labels"}, {Path: "b/c", Field: "annotations.x"}, {Path: "d", Content: "text"}}}, ""},
		"nothing":               {husk.Projection{}, "spec.volumes[0].projected[0]"},
		"two sources":           {husk.Projection{Config: web, Secret: web}, "spec.volumes[0].projected[0]"},
		"an unknown field":      {husk.Projection{Files: []husk.ProjectedFile{{Path: "a", Field: "secrets"}}}, "spec.volumes[0].projected[0].files[0].field"},
		"a field and a content": {husk.Projection{Files: []husk.ProjectedFile{{Path: "a", Field: "name", Content: "x"}}}, "spec.volumes[0].projected[0].files[0].field"},
		"a path that leads out": {husk.Projection{Files: []husk.ProjectedFile{{Path: "a"}, {Path: "../a"}}}, "spec.volumes[0].projected[0].files[1].path"},
		"a path below a file":   {husk.Projection{Files: []husk.ProjectedFile{{Path: "a"}, {Path: "a/b"}}}, "spec.volumes[0].projected[0].files[1].path"},
		"an item that leads out": {
			husk.Projection{Secret: &husk.ConfigFiles{Name: "web", Items: []husk.ConfigFile{{Key: "k", Path: "/etc/passwd"}}}}, "spec.volumes[0].projected[0].secret.items[0].path",
		},
	} {
		spec := husk.PodSpec{
			Containers: []husk.Container{{Name: "main", Image: "a"}}, Resources: husk.Resources{MemoryMiB: 128},
			Volumes: []husk.PodVolume{{Name: "all", Projected: []husk.Projection{c.part}}},
		}
		got := ""
		err := Complete(&spec)
		if e, ok := errors.AsType[*husk.Error](err); ok {
			got = e.Field
		}
		if got != c.field {
			t.Errorf("%s: %v; want an error about %q", name, err, c.field)
		}
	}
}
