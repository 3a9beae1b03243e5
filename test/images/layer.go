// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// layerRecipe describes a layer: Debian packages and additional files.
type layerRecipe struct {
	name     string
	version  int      // increase it when the recipe changes; it is part of the cached file's name
	packages []string // the build adds the libraries that they need
	without  []string // prefixes of paths that the layer leaves out
	add      func(files) error
}

// files are the entries of a layer by path. Paths have no leading slash, and
// paths of directories end with a slash.
type files map[string]entry

type entry struct {
	header  tar.Header
	content func() io.Reader
}

func (f files) put(h tar.Header, content string) {
	h.Size = int64(len(content))
	f[h.Name] = entry{h, func() io.Reader { return strings.NewReader(content) }}
}

func (f files) file(name string, mode int64, content string) {
	f.put(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (f files) dir(name string, mode int64, owner int) {
	f.put(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, "")
}

func (f files) symlink(name, target string) {
	f.put(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, "")
}

func (f files) hardlink(name, target string) {
	f.put(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, "")
}

func (l layerRecipe) build(ctx context.Context, cacheDir string) (v1.Layer, error) {
	debs, err := download(ctx, cacheDir, l.packages)
	if err != nil {
		return nil, err
	}
	key := sha256.New()
	fmt.Fprintln(key, l.name, l.version, l.without)
	for _, deb := range debs {
		fmt.Fprintln(key, filepath.Base(deb)) // the file name contains the version
	}
	cached := filepath.Join(cacheDir, fmt.Sprintf("layer-%s-%.12x.tar.gz", l.name, key.Sum(nil)))
	if _, err := os.Stat(cached); errors.Is(err, os.ErrNotExist) {
		if err := l.write(ctx, cached, debs); err != nil {
			return nil, err
		}
	}
	return tarball.LayerFromFile(cached)
}

// write writes the layer to a temporary file and then renames it, so that cached layers are
// complete.
func (l layerRecipe) write(ctx context.Context, path string, debs []string) (err error) {
	all := files{}
	for _, deb := range debs {
		if err := all.unpack(ctx, deb, l.without); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
	}
	if l.add != nil {
		if err := l.add(all); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "half-*")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, tmp.Close()); err == nil {
			err = os.Rename(tmp.Name(), path)
		}
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	buffered := bufio.NewWriterSize(tmp, 1<<20)
	packed, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := all.write(packed); err != nil {
		return err
	}
	return errors.Join(packed.Close(), buffered.Flush())
}

func (f files) write(w io.Writer) error {
	out := tar.NewWriter(w)
	names := slices.Sorted(maps.Keys(f))
	// Hard links come last, because their targets must exist.
	slices.SortStableFunc(names, func(a, b string) int { return isLink(f[a]) - isLink(f[b]) })
	for _, n := range names {
		e := f[n]
		e.header.ModTime, e.header.Format = time.Unix(1700000000, 0), tar.FormatPAX
		if err := out.WriteHeader(&e.header); err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
		if _, err := io.Copy(out, e.content()); err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
	}
	return out.Close()
}

func isLink(e entry) int {
	if e.header.Typeflag == tar.TypeLink {
		return 1
	}
	return 0
}
