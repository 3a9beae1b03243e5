// SPDX-License-Identifier: Apache-2.0

package images_test

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk/dev/devtest"
	"husk/egress"
	"husk/registry"
	"husk/test/images"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// cacheDir is shared by all runs, so that packages are downloaded only once.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "husk-images")
}

// pull builds and pushes an image and writes its flattened files to a tar file.
func pull(t *testing.T, name string) (*registry.Resolved, string) {
	t.Helper()
	began := time.Now()
	built, err := images.Build(t.Context(), cacheDir(t), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %s", time.Since(began))
	began = time.Now()
	refs, err := images.Push(t.Context(), devtest.Registry(t), built)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("pushed in %s", time.Since(began))
	began = time.Now()
	if _, err := images.Push(t.Context(), devtest.Registry(t), built); err != nil {
		t.Fatal(err)
	}
	t.Logf("pushed again in %s", time.Since(began))
	r, err := registry.Resolve(t.Context(), egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, refs[name], registry.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "flat.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	spool, err := os.Create(filepath.Join(t.TempDir(), "layers"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	began = time.Now()
	if err := r.Flatten(t.Context(), spool, func(registry.Root) (io.Writer, error) { return out, nil }); err != nil {
		t.Fatal(err)
	}
	t.Logf("flattened in %s", time.Since(began))
	return r, out.Name()
}

// root unpacks a flattened image, so that a test can run commands in it.
func root(t *testing.T, file string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xpf", file, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for commands that run as another user
		t.Fatal(err)
	}
	return dir
}

func chroot(t *testing.T, spec, dir string, env []string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "chroot", append([]string{"--userspec=" + spec, dir}, command...)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

func TestTheTortureImageIsFlattenedCorrectly(t *testing.T) {
	t.Parallel()
	r, file := pull(t, "torture")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sums, links := map[string]string{}, map[string]string{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, gone := range images.TortureGone {
			if strings.TrimSuffix(h.Name, "/") == gone {
				t.Errorf("%s still exists", gone)
			}
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, tr); err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			sums[h.Name] = fmt.Sprintf("%x", hash.Sum(nil))
		case tar.TypeLink:
			links[h.Name] = h.Linkname
		}
	}
	for name, sum := range images.TortureSums() {
		got := sums[name]
		if target, ok := links[name]; ok {
			got = sums[target]
		}
		if got != sum {
			t.Errorf("%s: sum %s, want %s", name, got, sum)
		}
	}
	out := chroot(t, "1000:1000", root(t, file), r.Config.Env, "/bin/sh", "-c", "cd /torture && exec sh verify")
	if out != "torture: ok\n" {
		t.Errorf("in the image: %s", out)
	}
}

func TestBuildsAreReproducible(t *testing.T) {
	t.Parallel()
	digests := map[string]string{}
	for range 2 {
		dir := t.TempDir()
		// The second build takes packages from the shared cache, but builds the layers again.
		packages, _ := filepath.Glob(filepath.Join(cacheDir(t), "busybox-static*"))
		for _, p := range packages {
			if err := os.Link(p, filepath.Join(dir, filepath.Base(p))); err != nil {
				t.Skip(err) // the cache is on another file system
			}
		}
		built, err := images.Build(t.Context(), dir, "busybox")
		if err != nil {
			t.Fatal(err)
		}
		d, err := built["busybox"].Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[d.String()] = dir
	}
	if len(digests) != 1 {
		t.Errorf("two builds differ: %v", digests)
	}
}

func TestNginxServes(t *testing.T) {
	t.Parallel()
	r, file := pull(t, "nginx")
	dir := root(t, file)
	if diff := cmp.Diff([]string{"80/tcp"}, r.Config.ExposedPorts); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "dev/null"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	chroot(t, "0:0", dir, r.Config.Env, "nginx", "-t", "-g", "error_log /dev/null;", "-c", "/etc/nginx/nginx.conf")
}

func TestPostgresStarts(t *testing.T) {
	t.Parallel()
	r, file := pull(t, "postgres")
	dir := root(t, file)
	if err := os.WriteFile(filepath.Join(dir, "dev/null"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "dev/null"), 0o666); err != nil {
		t.Fatal(err)
	}
	// The entrypoint initialises the database and then runs its arguments.
	out := chroot(t, "0:0", dir, r.Config.Env, "/usr/local/bin/entrypoint", "sh", "-c",
		"id -un && echo 'SELECT 6*7 AS answer' | postgres --single postgres")
	if !strings.Contains(out, "\npostgres\n") || !strings.Contains(out, `answer = "42"`) {
		t.Errorf("the output of postgres is:\n%s", out)
	}
}
