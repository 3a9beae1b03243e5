// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"husk/nodeagent/podlog"
)

// file is a part of a log.
type file struct {
	Name   string `json:"name"`
	Offset int64  `json:"offset"` // 0: what the destination has of it is replaced
	Size   int64  `json:"size"`
}

// files sends the logs of a pod twice: all of them while the machine runs, and what has been added when it is paused.
type files struct {
	dir  string
	sent map[string]sentFile
}

type sentFile struct {
	inode uint64
	size  int64
}

func newFiles(dir string) *files { return &files{dir, map[string]sentFile{}} }

func (f *files) send(to io.Writer) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := f.one(to, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) one(to io.Writer, name string) error {
	in, err := os.Open(filepath.Join(f.dir, name)) //nolint:gosec // the agent's own state
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotated meanwhile
	}
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read from
	info, err := in.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return nil
	}
	from := int64(0)
	before, known := f.sent[name]
	if known && before.inode == st.Ino && before.size <= info.Size() {
		from = before.size
	}
	if known && from == info.Size() {
		return nil
	}
	if err := send(to, message{File: &file{name, from, info.Size() - from}}); err != nil {
		return err
	}
	if _, err := io.Copy(to, io.NewSectionReader(in, from, info.Size()-from)); err != nil {
		return err
	}
	f.sent[name] = sentFile{st.Ino, info.Size()}
	return nil
}

// logWriter writes the logs that another node sends. It accepts only logs of the pod's containers, and no more than they can have.
type logWriter struct {
	dir     string
	names   []string
	written int64
}

func (w *logWriter) write(f file, from io.Reader) error {
	container := strings.TrimSuffix(strings.TrimSuffix(f.Name, ".1"), ".log")
	if !slices.Contains(w.names, container) || f.Name != container+".log" && f.Name != container+".log.1" {
		return fmt.Errorf("%.80q is not a log of the pod", f.Name)
	}
	if w.written += f.Size; f.Offset < 0 || f.Size < 0 || f.Offset > podlog.MaxFile || f.Size > podlog.MaxFile || w.written > 4*podlog.MaxPod {
		return errors.New("the logs are too large")
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	flags := os.O_CREATE | os.O_WRONLY
	if f.Offset == 0 {
		flags |= os.O_TRUNC
	}
	out, err := os.OpenFile(filepath.Join(w.dir, f.Name), flags, 0o600) //nolint:gosec // the name was checked
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.NewOffsetWriter(out, f.Offset), from, f.Size)
	return errors.Join(err, out.Close())
}
