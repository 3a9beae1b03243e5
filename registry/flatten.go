// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Flatten writes the image's files as one tar stream: directories first, parents before children,
// then each file, immediately followed by its other names (hard links). It keeps modes, owners,
// times and extended attributes, and omits devices. After an error, discard what was written. The
// root directory is not in the stream: open gets it, before the stream begins.
//
// It reads the layers twice: first to find the entries of the final file system, then to copy these
// entries. In between, the layers are in the spool, compressed as they were received. It calls Fetched
// while it downloads the layers.
//
// It returns a *ImageError, or the error of open or of its writer.
func (r *Resolved) Flatten(ctx context.Context, spool *os.File, open func(Root) (io.Writer, error)) error {
	c := newClient(r.policy, r.repo, r.auth)
	defer c.close()
	err := r.flatten(ctx, c, spool, open)
	if writing, ok := errors.AsType[*writeError](err); ok {
		return writing.err
	}
	return c.fail(r.Reference, err)
}

// Root is the root directory of an image.
type Root struct {
	Mode     uint32
	UID, GID int
}

// writeError marks an error of the caller's writer.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

func (r *Resolved) flatten(ctx context.Context, c *client, spool *os.File, open func(Root) (io.Writer, error)) error {
	if r.SizeBytes > r.Limits.Bytes {
		return fmt.Errorf("%w: %d bytes compressed", ErrTooLarge, r.SizeBytes)
	}
	if err := hasSpace(spool, r.SizeBytes); err != nil {
		return &writeError{err}
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return &writeError{err}
	}
	layers, err := r.download(ctx, c, spool)
	if err != nil {
		return err
	}
	budget := r.Limits
	t := newTree(&budget)
	for i, layer := range layers {
		t.layer = i
		if err := eachEntry(ctx, layer, r.diffIDs[i], &budget, func(index int, h *tar.Header, _ io.Reader) error {
			return t.apply(index, strip(h))
		}); err != nil {
			return err
		}
	}
	if err := t.addVolumes(r.Config.Volumes); err != nil {
		return err
	}
	dirs, files, err := t.survivors()
	if err != nil {
		return err
	}
	if err := checkOwners(t.root.dir, dirs, files); err != nil {
		return err
	}
	left := r.Limits.Bytes
	r.SetsPrivileges = false
	for _, f := range files {
		r.SetsPrivileges = r.SetsPrivileges || setsPrivileges(f.header)
		// In the first pass, a sparse file counted only with its small size in the archive.
		if left -= f.header.Size; left < 0 {
			return fmt.Errorf("%w: too many bytes", ErrTooLarge)
		}
	}
	root := t.root.dir
	w, err := open(Root{Mode: uint32(root.Mode), UID: root.Uid, GID: root.Gid}) //nolint:gosec // strip has bounded the mode
	if err != nil {
		return &writeError{err}
	}
	return copyOut(ctx, w, layers, r.Limits, dirs, files)
}

// maxOwners is how many different user and group IDs, together, a squashfs can have.
const maxOwners = 1 << 16

func checkOwners(root *tar.Header, dirs []*tar.Header, files map[[2]int]*file) error {
	ids := map[int]struct{}{root.Uid: {}, root.Gid: {}}
	for _, h := range dirs {
		ids[h.Uid], ids[h.Gid] = struct{}{}, struct{}{}
	}
	for _, f := range files {
		ids[f.header.Uid], ids[f.header.Gid] = struct{}{}, struct{}{}
	}
	if len(ids) > maxOwners {
		return fmt.Errorf("%w: its files have %d different owners and groups, more than %d", ErrTooLarge, len(ids), maxOwners)
	}
	return nil
}

// keepFree is what stays free of a large file system, in bytes. Of a small one, a tenth does.
const keepFree = 10 << 30

// hasSpace checks that the file system of a file has space for need bytes, and that enough of it
// then stays free for other imports and the system.
func hasSpace(file *os.File, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return fmt.Errorf("read the free space of %s: %w", file.Name(), err)
	}
	free := int64(fs.Bavail) * fs.Bsize                          //nolint:gosec // below 2^63 on every disk
	if free-need < min(keepFree, int64(fs.Blocks)*fs.Bsize/10) { //nolint:gosec // as above
		return fmt.Errorf("%s has only %d bytes free, and the image has %d bytes of layers: %w", file.Name(), free, need, unix.ENOSPC)
	}
	return nil
}

// download downloads all layers into one file, one after the other, and checks each against its
// digest.
func (r *Resolved) download(ctx context.Context, c *client, spool *os.File) ([]*io.SectionReader, error) {
	var layers []*io.SectionReader
	var at int64
	for _, d := range r.layers {
		w := &countingWriter{w: spool, at: at, end: at + d.Size, tell: r.Fetched}
		if err := c.fetch(ctx, d, w); err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		layers = append(layers, io.NewSectionReader(spool, at, d.Size))
		at += d.Size
	}
	return layers, nil
}

func (c *client) fetch(ctx context.Context, d v1.Descriptor, w io.Writer) (err error) {
	layer, err := remote.Layer(c.repo.Digest(d.Digest.String()), c.options(c.allowBlob(ctx, d.Digest))...)
	if err != nil {
		return err
	}
	body, err := layer.Compressed() // returns an error at its end if the digest differs
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	n, err := io.Copy(w, io.LimitReader(body, d.Size+1))
	if err != nil && strings.Contains(err.Error(), "error verifying") {
		return fmt.Errorf("%w: %w", ErrBadImage, err)
	}
	if err == nil && n != d.Size {
		return fmt.Errorf("%w: %d bytes where the manifest says %d", ErrBadImage, n, d.Size)
	}
	return err
}

// countingWriter counts how much of a layer has been downloaded. It starts at the layer's start and
// never reports more than the layer's size, whatever the registry sends.
type countingWriter struct {
	w       io.Writer
	at, end int64
	tell    func(bytes int64)
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if now := min(c.at+int64(n), c.end); now > c.at {
		c.at = now
		if c.tell != nil {
			c.tell(now)
		}
	}
	return n, err
}

// eachEntry reads a layer and subtracts what it uses from the budget. If want is set, it refuses a layer whose uncompressed content has
// another hash.
func eachEntry(ctx context.Context, layer *io.SectionReader, want v1.Hash, budget *Limits, do func(index int, h *tar.Header, r io.Reader) error) error {
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	plain, err := decompress(bufio.NewReaderSize(layer, 256<<10))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadImage, err)
	}
	defer plain.Close()
	var content io.Reader = &budgetReader{ctx: ctx, r: plain, left: &budget.Bytes}
	hash := sha256.New()
	if want != (v1.Hash{}) {
		content = io.TeeReader(content, hash)
	}
	entries := tar.NewReader(content)
	for index := 0; ; index++ {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			if want == (v1.Hash{}) {
				return nil
			}
			if _, err := io.Copy(io.Discard, content); err != nil { // what follows the end of the archive
				return badTar(err)
			}
			if got := hex.EncodeToString(hash.Sum(nil)); want.Algorithm != "sha256" || got != want.Hex {
				return fmt.Errorf("%w: the content of a layer is sha256:%s, and the configuration says %s", ErrBadImage, got, want)
			}
			return nil
		}
		if err != nil {
			return badTar(err)
		}
		if budget.Entries--; budget.Entries < 0 {
			return fmt.Errorf("%w: too many entries", ErrTooLarge)
		}
		// A sparse file is small in the archive and large when it is written.
		if h.Size > budget.Bytes {
			return fmt.Errorf("%w: %q has %d bytes", ErrTooLarge, h.Name, h.Size)
		}
		if err := do(index, h, entries); err != nil {
			return err
		}
	}
}

func badTar(err error) error {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBadImage, err)
}

// decompress recognizes gzip and zstd by their first bytes, because media types can be wrong.
func decompress(r *bufio.Reader) (io.ReadCloser, error) {
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return io.NopCloser(r), nil
	}
}

// budgetReader stops a layer that decompresses to too much data.
type budgetReader struct {
	ctx  context.Context
	r    io.Reader
	left *int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return n, fmt.Errorf("%w: too many bytes", ErrTooLarge)
	}
	return n, err
}

// strip keeps only the header fields that are passed on.
func strip(h *tar.Header) *tar.Header {
	kept := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode & 0o7777,
		Uid: owner(h.Uid), Gid: owner(h.Gid), ModTime: clamp(h.ModTime), Format: tar.FormatPAX,
	}
	for key, value := range h.PAXRecords {
		const xattr = "SCHILY.xattr."
		attr, ok := strings.CutPrefix(key, xattr)
		if ok && (strings.HasPrefix(attr, "user.") || attr == "security.capability") {
			if kept.PAXRecords == nil {
				kept.PAXRecords = map[string]string{}
			}
			kept.PAXRecords[key] = value
		}
	}
	return kept
}

// clamp returns a time as a squashfs can have it: a whole second from 1970 to 2106.
func clamp(t time.Time) time.Time {
	return time.Unix(min(max(t.Unix(), 0), math.MaxUint32), 0)
}

// setsPrivileges reports whether a file has a set-user-ID or set-group-ID bit or capabilities.
func setsPrivileges(h *tar.Header) bool {
	_, capable := h.PAXRecords["SCHILY.xattr.security.capability"]
	return capable || h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeFifo && h.Mode&0o6000 != 0
}

// owner maps invalid user and group ids to nobody.
func owner(id int) int {
	const nobody = 65534
	if id < 0 || id >= math.MaxUint32 {
		return nobody
	}
	return id
}

// copyOut writes the surviving entries, in the order of their layers.
func copyOut(ctx context.Context, w io.Writer, layers []*io.SectionReader, budget Limits, dirs []*tar.Header, files map[[2]int]*file) error {
	out := tar.NewWriter(w)
	write := func(h *tar.Header) error {
		h.Format = tar.FormatPAX
		if err := out.WriteHeader(h); err != nil {
			return &writeError{fmt.Errorf("write %q: %w", h.Name, err)}
		}
		return nil
	}
	for _, h := range dirs {
		if err := write(h); err != nil {
			return err
		}
	}
	for i, layer := range layers {
		err := eachEntry(ctx, layer, v1.Hash{}, &budget, func(index int, _ *tar.Header, r io.Reader) error {
			f := files[[2]int{i, index}]
			if f == nil {
				return nil
			}
			h := *f.header
			h.Name = f.names[0]
			switch h.Typeflag {
			case tar.TypeSymlink, tar.TypeFifo:
				h.Size = 0
			default:
				h.Typeflag, h.Linkname = tar.TypeReg, ""
			}
			if err := write(&h); err != nil {
				return err
			}
			if h.Size > 0 {
				if err := copyFile(out, r, h.Size); err != nil {
					return err
				}
			}
			for _, link := range f.names[1:] {
				if err := write(&tar.Header{Typeflag: tar.TypeLink, Name: link, Linkname: f.names[0], Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return &writeError{err}
	}
	return nil
}

// copyFile distinguishes errors of the reader from those of the writer.
func copyFile(w io.Writer, r io.Reader, size int64) error {
	read := &rememberingReader{r: r}
	if _, err := io.CopyN(w, read, size); err != nil {
		if read.err != nil {
			return badTar(read.err)
		}
		return &writeError{err}
	}
	return nil
}

type rememberingReader struct {
	r   io.Reader
	err error
}

func (r *rememberingReader) Read(p []byte) (n int, err error) {
	n, err = r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
