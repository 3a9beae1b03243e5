// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package archive copies files out of a container and into it, as tar archives in sessions. It runs on
// a thread that has entered the container, so symbolic links are resolved as for the container's own
// processes.
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
	"strings"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/session"
)

// kernelFS are the kernel's file systems. They are not included if a directory above them is
// copied.
var kernelFS = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, mqueueMagic: true,
}

const mqueueMagic = 0x19800202

// Out sends a path of the container as an archive.
func Out(what guest.Copy, accept guest.Accept) error {
	if !path.IsAbs(what.Path) {
		return &guest.CallError{Code: guest.CodeInvalid, Message: "the path in the container must begin with /"}
	}
	top, err := filepath.EvalSymlinks(what.Path)
	if err == nil {
		_, err = os.Lstat(top)
	}
	if err != nil {
		return noFile(err)
	}
	conn, err := accept()
	if err != nil {
		return nil //nolint:nilerr // the host has gone
	}
	go func() { // the client sends nothing; this notices that it has gone
		for {
			if _, err := conn.Receive(); err != nil {
				conn.Close()
				return
			}
		}
	}()
	p := packer{conn: conn, out: bufio.NewWriterSize(stdoutWriter{conn}, session.Chunk)}
	p.tar = tar.NewWriter(p.out)
	name := path.Base(path.Clean(what.Path))
	if name == "/" {
		name = "."
	}
	err = p.add(top, name, true)
	if err == nil {
		err = errors.Join(p.tar.Close(), p.out.Flush())
	}
	if err != nil {
		return &guest.CallError{Code: guest.CodeFailed, Message: err.Error()}
	}
	return session.SendExit(conn, session.Status{Code: p.code})
}

func noFile(err error) error {
	e, ok := errors.AsType[*fs.PathError](err)
	if ok && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) {
		return &guest.CallError{Code: guest.CodeNoFile, Message: fmt.Sprintf("there is no %s in the container", e.Path)}
	}
	return &guest.CallError{Code: guest.CodeFailed, Message: err.Error()}
}

type stdoutWriter struct{ conn session.Conn }

func (w stdoutWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), session.Chunk)
		if err := w.conn.Send(session.Stdout, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// packer writes an archive.
type packer struct {
	conn session.Conn
	out  *bufio.Writer
	tar  *tar.Writer
	code int // 1: something was omitted
}

// leaveOut tells the client what the archive omits.
func (p *packer) leaveOut(file string, why any) error {
	return p.warn(file, fmt.Sprintf("was skipped: %v", why))
}

func (p *packer) warn(file, what string) error {
	p.code = 1
	return p.conn.Send(session.Stderr, fmt.Appendf(nil, "%s %s\n", file, what))
}

// add writes a file, or a directory with everything below it. An error means that the client cannot
// be reached any more.
func (p *packer) add(file, name string, top bool) error {
	info, err := os.Lstat(file)
	if err != nil {
		return p.leaveOut(file, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return p.leaveOut(file, err)
	}
	h := tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: info.ModTime()}
	switch {
	case info.Mode().IsRegular():
		return p.addFile(file, h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(file); err != nil {
			return p.leaveOut(file, err)
		}
		return p.tar.WriteHeader(&h)
	case !info.IsDir():
		return p.leaveOut(file, "it is not a file, directory or link")
	}
	var sfs unix.Statfs_t
	if err := unix.Statfs(file, &sfs); err == nil && kernelFS[sfs.Type] && !top {
		return p.leaveOut(file, "it is a kernel file system")
	}
	h.Typeflag, h.Name = tar.TypeDir, name+"/"
	if err := p.tar.WriteHeader(&h); err != nil {
		return err
	}
	entries, err := os.ReadDir(file)
	if err != nil {
		if err := p.leaveOut(file, err); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := p.add(path.Join(file, e.Name()), path.Join(name, e.Name()), false); err != nil {
			return err
		}
	}
	return nil
}

// addFile writes a file with its current length. If the file shrinks, the rest is filled with
// zeros.
func (p *packer) addFile(file string, h tar.Header) error {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return p.leaveOut(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return p.leaveOut(file, "it has changed")
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := p.tar.WriteHeader(&h); err != nil {
		return err
	}
	n, err := io.CopyN(onlyWriter{p.tar}, onlyReader{f}, h.Size)
	if n == h.Size {
		return err
	}
	if _, reading := errors.AsType[*fs.PathError](err); reading || errors.Is(err, io.EOF) {
		if e := p.warn(file, fmt.Sprintf("has only zeros after byte %d in the archive: %v", n, err)); e != nil {
			return e
		}
		_, err = io.CopyN(p.tar, zeros{}, h.Size-n)
	}
	return err
}

// onlyReader and onlyWriter hide the other methods from io.Copy, which would link in much code for
// no benefit.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
	zeros      struct{}
)

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// In unpacks an archive in the container. If the path is a directory, the archive is unpacked into it.
// Otherwise the path replaces the first part of every name in the archive. The unpacking follows no
// link out of the directory. Files belong to owner, unless the archive's owners are kept.
func In(where guest.Copy, owner func() (uid, gid int, err error), accept guest.Accept) error {
	if !path.IsAbs(where.Path) {
		return &guest.CallError{Code: guest.CodeInvalid, Message: "the path in the container must begin with /"}
	}
	u := unpacker{keepOwners: where.KeepOwners}
	if !u.keepOwners {
		var err error
		if u.uid, u.gid, err = owner(); err != nil {
			return err
		}
	}
	dir := where.Path
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(dir, "/") || err == nil && !info.IsDir() {
		dir, u.rename = path.Dir(path.Clean(dir)), path.Base(path.Clean(dir))
		info, err = os.Stat(dir)
	}
	if err != nil {
		return noFile(err)
	}
	if !info.IsDir() {
		return &guest.CallError{Code: guest.CodeFailed, Message: dir + " is not a directory"}
	}
	if u.root, err = os.OpenRoot(dir); err != nil {
		return noFile(err)
	}
	defer u.root.Close()
	conn, err := accept()
	if err != nil {
		return nil
	}
	from := &stdinReader{conn: conn}
	if err := u.unpack(bufio.NewReaderSize(from, session.Chunk), conn); err != nil {
		if from.gone {
			return nil
		}
		return &guest.CallError{Code: guest.CodeFailed, Message: err.Error()}
	}
	if _, err := io.Copy(onlyWriter{io.Discard}, from); err != nil { // what follows the archive's end
		return nil
	}
	return session.SendExit(conn, session.Status{Code: u.code})
}

// stdinReader reads the client's input.
type stdinReader struct {
	conn session.Conn
	rest []byte
	eof  bool
	gone bool
}

func (r *stdinReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.eof {
			return 0, io.EOF
		}
		f, err := r.conn.Receive()
		if err != nil {
			r.gone = true
			return 0, err
		}
		switch f.Kind {
		case session.Stdin:
			r.rest = f.Payload
		case session.EOF:
			r.eof = true
		default:
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// unpacker writes the entries of an archive.
type unpacker struct {
	root       *os.Root
	rename     string // of the first part of every name
	keepOwners bool
	uid, gid   int
	code       int
}

func (u *unpacker) unpack(r io.Reader, conn session.Conn) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the archive cannot be read: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if u.rename != "" {
			_, below, _ := strings.Cut(name, "/")
			name = path.Join(u.rename, below)
		}
		if name == "" {
			name = "."
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
		default:
			u.code = 1
			if err := conn.Send(session.Stderr, fmt.Appendf(nil, "%s was skipped: it is not a file, directory or link\n", h.Name)); err != nil {
				return err
			}
			continue
		}
		if err := u.entry(name, h, archive); err != nil {
			return err
		}
	}
}

func (u *unpacker) entry(name string, h *tar.Header, content io.Reader) error {
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	uid, gid := u.uid, u.gid
	if u.keepOwners {
		uid, gid = h.Uid, h.Gid
	}
	var f *os.File
	var err error
	switch h.Typeflag {
	case tar.TypeLink:
		u.root.Remove(name)
		return u.root.Link(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"), name)
	case tar.TypeSymlink:
		u.root.Remove(name)
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.root.Lchown(name, uid, gid)
	case tar.TypeDir:
		if err := u.root.MkdirAll(name, 0o755); err != nil || name == "." { // an existing directory is not changed
			return err
		}
		f, err = u.root.Open(name)
	default:
		f, err = u.file(name, content)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chown(uid, gid); err != nil {
		return err
	}
	mode := uint32(h.Mode & 0o7777)
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil { // after chown, which removes set-user-ID
		return fmt.Errorf("mode of %s: %w", name, err)
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

// file replaces a file by a new one, so that processes that have the old one open keep it. A file
// that cannot be removed, such as a mount, is overwritten.
func (u *unpacker) file(name string, content io.Reader) (*os.File, error) {
	u.root.Remove(name)
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(onlyWriter{f}, content); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
