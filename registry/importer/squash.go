// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"husk/registry"
)

// squash turns the tar stream that fill writes into a squashfs. fill opens the stream with the root directory.
func squash(ctx context.Context, path string, fill func(context.Context, func(registry.Root) (io.Writer, error)) error) error {
	var cmd *exec.Cmd
	var stdin io.WriteCloser
	var diagnostics bytes.Buffer
	fillErr := fill(ctx, func(root registry.Root) (_ io.Writer, err error) {
		cmd = sqfstar(ctx, path, root)
		cmd.Stdout, cmd.Stderr = &diagnostics, &diagnostics
		if stdin, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start sqfstar in a user namespace: %w", err)
		}
		return stdin, nil
	})
	if cmd == nil || cmd.Process == nil {
		return fillErr
	}
	if errors.Is(fillErr, unix.EPIPE) {
		// Either sqfstar has read up to the end mark of the archive but not the padding after it,
		// or it failed. Its exit code says which.
		fillErr = nil
	}
	if fillErr != nil {
		// What was written may look like a complete, smaller image.
		_ = cmd.Process.Kill()
	}
	_ = stdin.Close() // EPIPE as above, or no error
	waitErr := cmd.Wait()
	if fillErr != nil {
		return fillErr
	}
	if waitErr != nil {
		return fmt.Errorf("sqfstar: %w: %s", waitErr, strings.TrimSpace(diagnostics.String()))
	}
	return nil
}

// sqfstar prepares the program that writes a squashfs. Up to version 4.5.1, it ignores -root-uid and -root-gid: the root directory belongs
// to the user who runs it. So it runs in a user namespace in which this process is the owner of the root directory. It reads the archive
// from a pipe and needs no other right.
func sqfstar(ctx context.Context, path string, root registry.Root) *exec.Cmd {
	// lz4 compresses a 70 MB tree in 0.2 s on two cores to 42 %. zstd takes 4.5 s to reach 26 %,
	// and sqfstar 4.5 has no option for a lower level. Speed matters more than size: pods wait
	// for the import and for every block that they read, and the cluster stores each image once.
	cmd := exec.CommandContext(ctx, "sqfstar", "-quiet", "-no-progress", "-force", "-exit-on-error",
		"-comp", "lz4", "-mkfs-time", "0", "-root-mode", strconv.FormatUint(uint64(root.Mode), 8), "-mem", squashMemory,
		"-processors", strconv.Itoa(cores()), filepath.Clean(path))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: root.UID, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: root.GID, HostID: os.Getegid(), Size: 1}},
	}
	return cmd
}
