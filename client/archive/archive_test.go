// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/client/archive"
)

// makeArchive returns a tar archive. The content of each file is its name.
func makeArchive(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// listing returns the names, modes and contents of all files below a directory.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			all[name] = info.Mode().String() + " " + string(b)
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			all[name] = "-> " + to
			return err
		default:
			all[name] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func file(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

func TestPackedFilesAreUnpacked(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	tree := filepath.Join(from, "tree")
	for name, mode := range map[string]fs.FileMode{"run": 0o755, "sub/secret": 0o600} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o750), os.WriteFile(filepath.Join(tree, name), []byte(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/secret", filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	never := func(name, why string) { t.Errorf("%s is skipped: %s", name, why) }
	if err := archive.Pack(&b, tree, never); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	if err := archive.Unpack(bytes.NewReader(raw), to, never); err != nil { // to an existing directory
		t.Fatal(err)
	}
	if err := archive.Unpack(bytes.NewReader(raw), filepath.Join(to, "renamed"), never); err != nil { // to a directory that does not exist yet
		t.Fatal(err)
	}
	want := listing(t, tree)
	for _, name := range []string{"tree", "renamed"} {
		if diff := cmp.Diff(want, listing(t, filepath.Join(to, name))); diff != "" {
			t.Errorf("%s (-packed +unpacked):\n%s", name, diff)
		}
	}
	if err := archive.Unpack(bytes.NewReader(raw), filepath.Join(to, "absent", "dir"), never); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to a path whose parent does not exist: %v", err)
	}
}

// husk cp follows the link that the user names, but keeps the links in the directory.
func TestTheNamedLinkIsFollowed(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	tree := filepath.Join(top, "tree")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "a"), []byte("1"), 0o600), os.Symlink("a", filepath.Join(tree, "b")),
		os.Symlink("tree", filepath.Join(top, "named"))); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	never := func(name, why string) { t.Errorf("%s is skipped: %s", name, why) }
	to := filepath.Join(top, "to")
	if err := errors.Join(os.Mkdir(to, 0o755), archive.Pack(&b, filepath.Join(top, "named"), never), archive.Unpack(&b, to, never)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, tree), listing(t, filepath.Join(to, "named"))); diff != "" {
		t.Errorf("(-packed +unpacked):\n%s", diff)
	}
}

// An archive from a pod may be hostile.
func TestNothingIsWrittenOutsideTheDestination(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		headers []tar.Header
		link    bool              // the directory has a link "before" to the directory outside
		want    map[string]string // below the directory
		fails   bool
	}{
		"names with ..": {
			headers: []tar.Header{file("../../climbed", 0o644), file("/absolute", 0o4755)},
			want:    map[string]string{"climbed": "-rw-r--r-- ../../climbed", "absolute": "-rwxr-xr-x /absolute"},
		},
		"links to paths outside": {
			headers: []tar.Header{link("a", "/etc/passwd"), link("b", "../outside"), link("d/c", "../../outside"), link("ok", "d/x")},
			want:    map[string]string{"d": "drwxr-xr-x", "ok": "-> d/x"},
		},
		"a file through an existing link": {
			link: true, headers: []tar.Header{file("before/pwned", 0o644)}, want: map[string]string{"before": "-> ../outside"}, fails: true,
		},
		"a file with the name of an existing link": {
			link: true, headers: []tar.Header{file("before", 0o644)}, want: map[string]string{"before": "-rw-r--r-- before"},
		},
		"a link, then a file through it": {
			headers: []tar.Header{link("x", "y"), link("y", "."), file("x/z", 0o600)}, want: map[string]string{"x": "-> y", "y": "-> .", "z": "-rw------- x/z"},
		},
		"entries that are neither files nor directories": {
			headers: []tar.Header{{Name: "dev", Typeflag: tar.TypeBlock}, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, {Name: "pipe", Typeflag: tar.TypeFifo}},
			want:    map[string]string{},
		},
		"a file without a name": {headers: []tar.Header{file("..", 0o644)}, want: map[string]string{}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(outside, 0o755)); err != nil {
				t.Fatal(err)
			}
			if c.link {
				if err := os.Symlink("../outside", filepath.Join(dir, "before")); err != nil {
					t.Fatal(err)
				}
			}
			err := archive.Unpack(makeArchive(t, c.headers...), dir, func(string, string) {})
			if (err != nil) != c.fails {
				t.Errorf("unpacking ends with %v", err)
			}
			if diff := cmp.Diff(c.want, listing(t, dir)); diff != "" {
				t.Errorf("in the directory (-want +got):\n%s", diff)
			}
			if got := listing(t, outside); len(got) > 0 {
				t.Errorf("outside: %v", got)
			}
		})
	}
}

func TestTruncatedArchiveIsAnError(t *testing.T) {
	t.Parallel()
	b := makeArchive(t, file("one", 0o644), file("two", 0o644)).Bytes()
	if err := archive.Unpack(bytes.NewReader(b[:514]), t.TempDir(), func(string, string) {}); err == nil {
		t.Error("a truncated archive is accepted")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(makeArchive(f, file("a/b", 0o644), link("c", "../d")).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "dir")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = archive.Unpack(bytes.NewReader(b), dir, func(string, string) {})
		if got, err := os.ReadDir(top); err != nil || len(got) != 1 {
			t.Errorf("outside: %v %v", got, err)
		}
	})
}
