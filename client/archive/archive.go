// SPDX-License-Identifier: Apache-2.0

// Package archive packs local files into a tar archive for a pod, and unpacks an archive that comes from a pod. Such an archive may be
// hostile: nothing is written outside of the destination, whatever its names and links are.
package archive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Pack writes a file, or a directory with its contents, as a tar archive under its own name. It calls the function skipped for everything
// that is not a file, a directory or a symbolic link. It follows local itself if that is a link.
func Pack(w io.Writer, local string, skipped func(name, why string)) error {
	abs, err := filepath.Abs(local)
	if err != nil {
		return err
	}
	top := filepath.Base(abs)
	if top == string(filepath.Separator) {
		top = "."
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil { // follow the link that was named
		return err
	}
	out := tar.NewWriter(w)
	err = filepath.WalkDir(abs, func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(abs, file)
		if err != nil {
			return err
		}
		return add(out, file, path.Join(top, filepath.ToSlash(below)), skipped)
	})
	return errors.Join(err, out.Close())
}

func add(out *tar.Writer, file, name string, skipped func(name, why string)) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode().IsRegular(), info.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	default:
		skipped(file, "not a file, a directory or a symbolic link")
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname = name, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if err := out.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(out, f, h.Size); err != nil {
		return fmt.Errorf("%s changed while it was read: %w", file, err)
	}
	return nil
}

// Unpack writes the files of an archive that has one entry at its top. If local is a directory, the entry goes into it; otherwise, local is
// the new name of the entry. Unpack calls the function skipped for entries that it does not write.
func Unpack(r io.Reader, local string, skipped func(name, why string)) error {
	dir, rename := local, ""
	info, err := os.Stat(local)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(local, string(filepath.Separator)) || err == nil && !info.IsDir() {
		dir, rename = filepath.Dir(filepath.Clean(local)), filepath.Base(filepath.Clean(local))
		_, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	came := &counter{r: r}
	in := tar.NewReader(bufio.NewReader(came))
	content := &honest{r: in, came: came}
	var dirs []*tar.Header // their modes are set last: a mode may forbid writing
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive cannot be read: %w", err)
		}
		h.Name = inside(h.Name, rename)
		if h.Name == "." && h.Typeflag != tar.TypeDir {
			return errors.New("the archive has a file without a name")
		}
		if err := unpackOne(root, h, content, skipped); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir && h.Name != "." {
			dirs = append(dirs, h)
		}
	}
	for _, h := range slices.Backward(dirs) {
		if err := errors.Join(chmod(root, h), root.Chtimes(h.Name, h.ModTime, h.ModTime)); err != nil {
			return err
		}
	}
	return nil
}

// counter counts the bytes that were read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// honest returns an error once the files have more bytes than the archive, because a sparse file in a small archive could fill a disk with
// zeros.
type honest struct {
	r    io.Reader
	came *counter
	n    int64
}

func (h *honest) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if h.n += int64(n); h.n > h.came.n {
		return 0, errors.New("the files in the archive are larger than the archive itself")
	}
	return n, err
}

// inside returns a name below the directory. If rename is not empty, it replaces the first element of the name.
func inside(name, rename string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if rename != "" {
		_, below, _ := strings.Cut(name, "/")
		name = path.Join(filepath.ToSlash(rename), below)
	}
	if name == "" {
		return "."
	}
	return filepath.FromSlash(name)
}

func unpackOne(root *os.Root, h *tar.Header, content io.Reader, skipped func(name, why string)) error {
	if parent := filepath.Dir(h.Name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(h.Name, 0o755)
	case tar.TypeSymlink:
		target := path.Join(path.Dir(filepath.ToSlash(h.Name)), h.Linkname) //nolint:gosec // it is only compared
		if path.IsAbs(h.Linkname) || target == ".." || strings.HasPrefix(target, "../") {
			skipped(h.Name, "a link that leads out of the archive")
			return nil
		}
		if err := root.Remove(h.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, h.Name)
	case tar.TypeReg:
		if err := root.Remove(h.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(fs.FileMode(h.Mode&0o777)), f.Close(), root.Chtimes(h.Name, h.ModTime, h.ModTime)) //nolint:gosec // permission bits
	default:
		skipped(h.Name, "not a file, a directory or a symbolic link")
		return nil
	}
}

func chmod(root *os.Root, h *tar.Header) error {
	f, err := root.Open(h.Name)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(fs.FileMode(h.Mode&0o777)), f.Close()) //nolint:gosec // permission bits
}
