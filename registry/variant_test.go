// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk/dev/devtest"
)

// built returns an image with one file and this platform in its configuration.
func built(t *testing.T, content string, change func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	img := image(t, layer(t, content))
	config := must(img.ConfigFile()).DeepCopy()
	change(config)
	return must(mutate.ConfigFile(img, config))
}

func TestTheVariantOfAnIndexIsChosen(t *testing.T) {
	t.Parallel()
	type entry struct {
		content  string
		platform *v1.Platform // in the index
		config   v1.Platform  // in the configuration
	}
	amd64, arm64 := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	v3 := &v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}
	unknown := &v1.Platform{OS: "unknown", Architecture: "unknown"}
	for _, tt := range []struct {
		name    string
		entries []entry
		want    string // "": no variant
		others  string
	}{
		{"the only one", []entry{{"a", &amd64, amd64}}, "a", ""},
		{"amd64/v3 first", []entry{{"v3", v3, amd64}, {"plain", &amd64, amd64}}, "plain", ""},
		{"only amd64/v3", []entry{{"arm", &arm64, arm64}, {"v3", v3, amd64}}, "v3", ""},
		{"without a platform", []entry{{"a", nil, amd64}}, "a", ""},
		{"without a platform, another architecture first", []entry{{"arm", nil, arm64}, {"amd", nil, amd64}}, "amd", ""},
		{"a plain one after one without a platform", []entry{{"unnamed", nil, amd64}, {"plain", &amd64, amd64}}, "plain", ""},
		{"an attestation first", []entry{{"sbom", unknown, v1.Platform{}}, {"plain", &amd64, amd64}}, "plain", ""},
		{"no platform anywhere", []entry{{"a", nil, v1.Platform{}}}, "a", ""},
		{"another architecture", []entry{{"arm", &arm64, arm64}, {"arm2", nil, arm64}}, "", "linux/arm64"},
		{"nothing", nil, "", "its index is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var index v1.ImageIndex = empty.Index
			for _, e := range tt.entries {
				img := built(t, e.content, func(c *v1.ConfigFile) { c.OS, c.Architecture = e.config.OS, e.config.Architecture })
				index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: e.platform}})
			}
			ref := devtest.Registry(t) + "/variants-" + strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(tt.name)
			if err := remote.WriteIndex(must(name.ParseReference(ref)), index); err != nil {
				t.Fatal(err)
			}
			r, err := Resolve(t.Context(), local, ref, Auth{})
			if tt.want == "" {
				if failure, ok := errors.AsType[*ImageError](err); !ok || !errors.Is(err, ErrNoPlatform) || !strings.Contains(failure.Detail(), tt.others) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			if err := r.Flatten(t.Context(), spool(t), to(&buf)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.want}, listing(t, &buf)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALayerThatDiffersFromItsDiffIDIsRefused(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*v1.ConfigFile){
		"another":  func(c *v1.ConfigFile) { c.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64) },
		"too few":  func(c *v1.ConfigFile) { c.RootFS.DiffIDs = nil },
		"too many": func(c *v1.ConfigFile) { c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, c.RootFS.DiffIDs[0]) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, err := Resolve(t.Context(), local, push(t, built(t, "a = 1", change)), Auth{})
			if err == nil {
				err = r.Flatten(t.Context(), spool(t), to(io.Discard))
			}
			if !errors.Is(err, ErrBadImage) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestVolumesThatTheLayersLackAreCreated(t *testing.T) {
	t.Parallel()
	img := image(t, layer(t, "file = 1", "there/", "there/x", "link -> target/dir"))
	config := must(img.ConfigFile()).DeepCopy()
	config.Config.Volumes = map[string]struct{}{"/var/lib/data": {}, "/there": {}, "relative": {}, "/link/in": {}, "/file/in": {}, "/../up": {}, "": {}, strings.Repeat("x", 300): {}}
	r, err := Resolve(t.Context(), local, push(t, must(mutate.ConfigFile(img, config))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := r.Flatten(t.Context(), spool(t), to(&buf)); err != nil {
		t.Fatal(err)
	}
	want := []string{"relative/", "target/", "target/dir/", "target/dir/in/", "there/", "up/", "var/", "var/lib/", "var/lib/data/", "file = 1", "there/x", "link -> target/dir"}
	if diff := cmp.Diff(want, listing(t, &buf)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestTooManyOwnersAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	owners := func(n int) error {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		for i := range n {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i), Uid: i}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Resolve(t.Context(), local, push(t, image(t, opened(t, buf.Bytes()))), Auth{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Flatten(t.Context(), spool(t), to(io.Discard))
	}
	if err := owners(maxOwners); err != nil {
		t.Errorf("%d owners: %v", maxOwners, err)
	}
	failure, ok := errors.AsType[*ImageError](owners(maxOwners + 1))
	if !ok || !errors.Is(failure, ErrTooLarge) || !strings.Contains(failure.Detail(), "65537 different owners and groups") {
		t.Errorf("got %v", failure)
	}
}
