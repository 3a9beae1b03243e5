// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// needless are libraries that packages depend on but the tests do not use. The
// compiler for Postgres' JIT alone is 100 MB.
var needless = []string{"libllvm14", "libz3-4", "libjson-perl"}

// withoutAlways are paths with files that programs do not need, such as documentation. No layer
// contains them.
var withoutAlways = []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/", "usr/share/bash-completion/"}

// download returns the package files of the given packages and the libraries
// they need, from the cache or through apt-get.
func download(ctx context.Context, cacheDir string, packages []string) ([]string, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	list := filepath.Join(cacheDir, strings.Join(packages, "+")+".packages")
	data, err := os.ReadFile(list)
	if errors.Is(err, os.ErrNotExist) {
		closure, err := withLibraries(ctx, packages)
		if err != nil {
			return nil, err
		}
		data = []byte(strings.Join(closure, "\n"))
		if err := os.WriteFile(list, data, 0o644); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	var debs, missing []string
	names := strings.Fields(string(data))
	for _, p := range names {
		if deb := cached(cacheDir, p); deb == "" {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		args := append([]string{"download", "-q", "-o", "APT::Sandbox::User=root"}, missing...)
		if _, err := output(ctx, cacheDir, "apt-get", args...); err != nil {
			return nil, err
		}
	}
	for _, p := range names {
		deb := cached(cacheDir, p)
		if deb == "" {
			return nil, fmt.Errorf("apt-get did not download %s", p)
		}
		debs = append(debs, deb)
	}
	return debs, nil
}

func cached(cacheDir, name string) string {
	found, _ := filepath.Glob(filepath.Join(cacheDir, name+"_*.deb")) // the pattern is always valid
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// withLibraries adds the libraries that packages depend on. It ignores all
// other dependencies (an init system, users, documentation tools), because
// containers do not need them.
func withLibraries(ctx context.Context, packages []string) ([]string, error) {
	seen := map[string]bool{}
	for todo := packages; len(todo) > 0; {
		for _, p := range todo {
			seen[p] = true
		}
		out, err := output(ctx, "", "apt-cache", append([]string{"show", "--no-all-versions"}, todo...)...)
		if err != nil {
			return nil, err
		}
		next := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if key != "Depends" && key != "Pre-Depends" {
				continue
			}
			for wanted := range strings.SplitSeq(value, ",") {
				// Of alternatives, as in "libfoo1 (>= 2) | libbar1", take the first.
				name, _, _ := strings.Cut(strings.TrimSpace(wanted), " ")
				name, _, _ = strings.Cut(name, ":")
				library := strings.HasPrefix(name, "lib") || name == "zlib1g"
				if library && !seen[name] && !slices.Contains(needless, name) {
					next[name] = true
				}
			}
		}
		todo = slices.Sorted(maps.Keys(next))
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// unpack adds a package's files.
func (f files) unpack(ctx context.Context, deb string, without []string) error {
	data, err := output(ctx, "", "dpkg-deb", "--fsys-tarfile", deb)
	if err != nil {
		return err
	}
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(h.Name)
		if name == "" || slices.ContainsFunc(slices.Concat(withoutAlways, without), func(p string) bool { return strings.HasPrefix(name+"/", p) }) {
			continue
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		clean := tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Linkname: h.Linkname}
		switch h.Typeflag {
		case tar.TypeDir:
			clean.Name += "/"
		case tar.TypeLink:
			clean.Linkname = merged(h.Linkname)
		}
		f.put(clean, string(content))
	}
}

// merged moves names in /bin, /sbin and /lib* to /usr. In the base layer these
// directories are links to /usr, but packages of Debian 12 use both paths.
func merged(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(mergedDirs, first) {
		if first == name {
			return ""
		}
		return "usr/" + name
	}
	return name
}

var mergedDirs = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
