// SPDX-License-Identifier: Apache-2.0

// Package images builds the OCI images that tests and the demo run, from Debian
// packages and without docker. apt-get downloads the packages and dpkg-deb
// unpacks them. The entries of layers are sorted and have a fixed time, so the
// same packages always give the same digests.
//
//	busybox   a shell, httpd and the usual small tools
//	nginx     Debian's nginx on port 80, logging to stdout and stderr
//	postgres  Debian's Postgres 15 on port 5432, initialised at first start
//	torture   unusual contents that an importer may handle wrongly; when run,
//	          it verifies that they were imported correctly
//
// All images share busybox's layer. The configuration of apt selects the source
// of the packages; this package contains no URL.
package images

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"
)

// recipe describes the layers and the configuration of an image.
type recipe struct {
	layers []layerRecipe
	config v1.Config
}

var searchPath = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

func recipes() map[string]recipe {
	return map[string]recipe{
		"busybox": {
			layers: []layerRecipe{baseLayer},
			config: v1.Config{Env: searchPath, Cmd: []string{"sh"}},
		},
		"nginx": {
			layers: []layerRecipe{baseLayer, nginxLayer},
			config: v1.Config{
				Env: searchPath, Cmd: []string{"nginx"}, StopSignal: "SIGQUIT",
				ExposedPorts: map[string]struct{}{"80/tcp": {}},
			},
		},
		"postgres": {
			layers: []layerRecipe{baseLayer, postgresLayer},
			config: v1.Config{
				Env:        append([]string{"PGDATA=" + pgdata, "LANG=C.UTF-8"}, searchPath...),
				Entrypoint: []string{"/usr/local/bin/entrypoint"}, Cmd: []string{"postgres"}, StopSignal: "SIGINT",
				ExposedPorts: map[string]struct{}{"5432/tcp": {}},
				Volumes:      map[string]struct{}{pgvolume: {}},
			},
		},
		"torture": {
			layers: append([]layerRecipe{baseLayer}, tortureLayers...),
			config: v1.Config{
				Env: append([]string{"WITH_SPACES=a b  c", "EMPTY=", "QUOTES=\"'"}, searchPath...), WorkingDir: "/torture", User: "1000:1000",
				Entrypoint: []string{"/bin/sh"}, Cmd: []string{"/torture/verify"},
			},
		},
	}
}

// Names returns the names of the images that Build can build.
func Names() []string { return slices.Sorted(maps.Keys(recipes())) }

// Build builds the named images, or all images if names is empty. It stores
// packages and layers in cacheDir. If all of them are cached, it takes about a
// second and does not use the network.
func Build(ctx context.Context, cacheDir string, names ...string) (map[string]v1.Image, error) {
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(cacheDir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if len(names) == 0 {
		names = Names()
	}
	known := recipes()
	images := map[string]v1.Image{}
	layers := map[string]v1.Layer{}
	for _, n := range names {
		r, ok := known[n]
		if !ok {
			return nil, fmt.Errorf("there is no image %q; choose from %v", n, Names())
		}
		img, err := r.build(ctx, cacheDir, layers)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", n, err)
		}
		images[n] = img
	}
	return images, nil
}

// lock locks the cache against builds in other processes.
func lock(cacheDir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(cacheDir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", cacheDir, err)
	}
	return func() { _ = f.Close() }, nil
}

func (r recipe) build(ctx context.Context, cacheDir string, built map[string]v1.Layer) (v1.Image, error) {
	var layers []v1.Layer
	for _, l := range r.layers {
		if built[l.name] == nil {
			layer, err := l.build(ctx, cacheDir)
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", l.name, err)
			}
			built[l.name] = layer
		}
		layers = append(layers, built[l.name])
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", "amd64", v1.Time{Time: time.Unix(0, 0).UTC()}
	file.Config = r.config
	return mutate.ConfigFile(img, file)
}

// Push writes images to a registry (host:port) as host:port/NAME:latest and
// returns these references. Data that the registry already has is not sent again.
func Push(ctx context.Context, registry string, images map[string]v1.Image, options ...remote.Option) (map[string]string, error) {
	refs := map[string]string{}
	options = append(options, remote.WithContext(ctx))
	for _, n := range slices.Sorted(maps.Keys(images)) {
		ref, err := name.ParseReference(registry + "/" + n + ":latest")
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, images[n], options...); err != nil {
			return nil, fmt.Errorf("push %s: %w", ref, err)
		}
		refs[n] = ref.Name()
	}
	return refs, nil
}
