// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/terminal"
	"husk/client"
	"husk/openapi"
	"husk/rbddiff"
)

const gib = 1 << 30

// sparse is the smallest part of raw content that is left out if it is zero.
const sparse = 64 << 10

// toFile are the flags of exports.
type toFile struct{ raw bool }

func (f *toFile) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.raw, "raw", false, "write a disk image; standard output must be a file, which becomes sparse")
}

// check refuses a standard output that cannot take the content.
func (f *toFile) check(out io.Writer) error {
	file, isFile := out.(*os.File)
	if isFile && terminal.Is(file) {
		return exit.Usagef("the content is not for a terminal; add > FILE")
	}
	if f.raw && (!isFile || !regular(file)) {
		return exit.Usagef("--raw: standard output is not a file; add > FILE")
	}
	return nil
}

func regular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// write writes a stream, and fails if it is not complete.
func (f *toFile) write(from io.Reader, out io.Writer) error {
	if !f.raw {
		from = io.TeeReader(from, out)
	}
	diff, err := rbddiff.NewReader(from)
	if err != nil {
		return fmt.Errorf("the API's response: %w", err)
	}
	file, _ := out.(*os.File)
	if f.raw {
		if err := file.Truncate(diff.Size()); err != nil {
			return err
		}
	}
	buf := make([]byte, rbddiff.MaxPiece)
	for {
		offset, n, err := diff.Next(buf)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err == nil && f.raw {
			_, err = file.WriteAt(buf[:n], offset)
		}
		if err != nil {
			return fmt.Errorf("the export is not complete: %w", err)
		}
	}
}

func (f *toFile) export(ctx context.Context, c *client.Client, snapshot uuid.UUID, out io.Writer) error {
	body, err := c.Snapshots.Export(ctx, snapshot)
	if err != nil {
		return err
	}
	return errors.Join(f.write(body, out), body.Close())
}

// ExportSnapshot makes the command that writes the content of a snapshot.
func ExportSnapshot(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export SNAPSHOT > FILE",
		Short: "Write the content of a snapshot to a file",
		Long: `Write the content of a snapshot to standard output, without what is zero. The format
is that of "rbd export-diff", which "husk volume import" and Ceph read. With --raw,
it is a disk image, as other programs read it.`,
		Example: "  husk snapshot export before-upgrade > data.rbd-diff\n  husk snapshot export before-upgrade --raw > data.img",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("snapshot"),
	}
	var f toFile
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(a.Out()); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		s, err := c.Snapshots.Find(cmd.Context(), kind.Bare("snapshot", args[0]))
		if err != nil {
			return err
		}
		return f.export(cmd.Context(), c, s.ID, a.Out())
	}
	return cmd
}

func export(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export VOLUME > FILE",
		Short: "Write the content of a volume to a file, also while a pod uses it",
		Long: `Write the content of a volume to standard output, as "husk snapshot export" does.
This creates a snapshot of the volume, and deletes it at the end. The snapshot
counts for the quota meanwhile.`,
		Example: "  husk volume export data --consistent > data.rbd-diff\n  husk volume export data | zstd > data.rbd-diff.zst",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume"),
	}
	var f toFile
	f.add(cmd)
	consistent := cmd.Flags().Bool("consistent", false, "freeze the file system in the pod for the moment of the snapshot")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := f.check(a.Out()); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		volume, err := c.Volumes.Find(ctx, kind.Bare("volume", args[0]))
		if err != nil {
			return err
		}
		s, err := c.Snapshots.Create(ctx, openapi.SnapshotCreate{Name: "export-" + uuid.NewString()[:8], VolumeID: volume.ID, Consistent: consistent})
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", volume.Name, err)
		}
		defer func() {
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime)
			defer cancel()
			if e := c.Snapshots.Delete(within, s.ID); e != nil {
				err = errors.Join(err, fmt.Errorf("delete the snapshot %s: %w", s.Name, e))
			}
		}()
		s, err = c.Snapshots.Wait(ctx, s.ID, func(s openapi.Snapshot) (bool, error) {
			if s.State == openapi.SnapshotStateFailed {
				return false, fmt.Errorf("snapshot %s failed: %s", s.Name, openapi.Value(s.Message))
			}
			return s.State == openapi.SnapshotStateReady, nil
		})
		if err != nil {
			return err
		}
		return f.export(ctx, c, s.ID, a.Out())
	}
	return cmd
}

// deleteTime is how long the deletion of a snapshot may take that was only for an export.
const deleteTime = 30 * time.Second

func importVolume(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import NAME < FILE",
		Short: "Create a volume with the content of a file",
		Long: `Create a volume with the content of standard input: what "husk volume export" has
written, or a raw disk image with or without a file system. Of a disk image that is
not a file, give the --size. If husk is interrupted, no volume is left.`,
		Example: "  husk volume import copy < data.rbd-diff\n  husk volume import disk --class fast < disk.img\n  zstd -d < data.rbd-diff.zst | husk volume import copy",
		Args:    cobra.ExactArgs(1),
	}
	size := cmd.Flags().String("size", "", "size in whole GiB, such as 10Gi; by default that of the content")
	class := cmd.Flags().String("class", "", "volume class; by default that of the operator, if there is one")
	fsType := cmd.Flags().String("fs-type", "", "file system of the content: ext4, xfs or none; by default what it looks like")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		params := openapi.ImportVolumeParams{Name: args[0]}
		if *size != "" {
			gibs, err := parse.Size("--size", *size, "Gi")
			if err != nil {
				return err
			}
			params.SizeGiB = &gibs
		}
		if *class != "" {
			params.Class = class
		}
		if *fsType != "" {
			if params.FsType = new(openapi.FSType(*fsType)); !params.FsType.Valid() {
				return exit.Usagef("unknown file system %q; use ext4, xfs or none", *fsType)
			}
		}
		content, err := diffOf(a.In(), openapi.Value(params.SizeGiB))
		if err != nil {
			return err
		}
		defer content.Close()
		c, err := a.Connect()
		if err != nil {
			return err
		}
		volume, err := c.Volumes.Import(cmd.Context(), params, content)
		if err != nil {
			return err
		}
		return kind.Volumes.Done(p, volume, fmt.Sprintf("imported with %d GiB and the file system %s", volume.SizeGiB, volume.FsType))
	}
	return cmd
}

// diffOf returns content in the format that the API reads. Raw content is converted as it is read.
func diffOf(in io.Reader, sizeGiB int) (io.ReadCloser, error) {
	file, isFile := in.(*os.File)
	if isFile && terminal.Is(file) {
		return nil, exit.Usagef("the content does not come from a terminal; add < FILE")
	}
	from := bufio.NewReaderSize(in, sparse)
	if start, err := from.Peek(len(rbddiff.Header)); err != nil || bytes.Equal(start, []byte(rbddiff.Header)) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return io.NopCloser(from), nil
	}
	size := int64(sizeGiB) * gib
	if size == 0 {
		if !isFile || !regular(file) {
			return nil, exit.Usagef("the content is a disk image of unknown size; add --size")
		}
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		size = info.Size()
	}
	read, write := io.Pipe()
	go func() { write.CloseWithError(convert(from, write, size)) }()
	return read, nil
}

// convert leaves out what is zero.
func convert(from io.Reader, to io.Writer, size int64) error {
	diff, err := rbddiff.NewWriter(to, size)
	if err != nil {
		return err
	}
	buf, zeros := make([]byte, sparse), make([]byte, sparse)
	for offset := int64(0); ; {
		n, err := io.ReadFull(from, buf)
		if n > 0 && offset+int64(n) > size {
			return exit.Usagef("the content is larger than %d bytes; increase --size", size)
		}
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if err := diff.Write(offset, buf[:n]); err != nil {
				return err
			}
		}
		offset += int64(n)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return diff.Close()
		case err != nil:
			return err
		}
	}
}
