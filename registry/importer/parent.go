// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"husk/egress"
	"husk/registry"
)

// Image is what to import.
type Image struct {
	Reference string // by digest, see registry.Pin
	Auth      registry.Auth
	Egress    egress.Policy
	Slow      Slow
}

// Slow says when a registry sends too slowly: fewer than Bytes in a period. Zero means DefaultSlow.
type Slow struct {
	Bytes  int64
	Period time.Duration
}

// DefaultSlow is 32 KiB/s over half a minute. A slower registry would occupy an import for hours.
var DefaultSlow = Slow{Bytes: 30 * 32 << 10, Period: 30 * time.Second}

// Argument is the only argument of a process that imports an image.
const Argument = "import-image"

// message is one line that the child writes.
type message struct {
	Fetched, Total int64                `json:",omitempty"`
	Error          string               `json:",omitempty"`
	Kind           string               `json:",omitempty"` // the text of one of registry.Kinds, of Failure
	Failure        *registry.ImageError `json:",omitempty"`
	Done           bool                 `json:",omitempty"`
	SetsPrivileges bool                 `json:",omitempty"` // of the image, with Done
}

// ErrKilled is for an import whose process something else than its limits ended, perhaps because the server had no memory.
var ErrKilled = errors.New("the process of the import was killed")

// The child's files, after standard input, output and error.
const (
	spoolFD    = 3
	squashfsFD = 4
)

// Import writes the image's files as a squashfs to the file. The layers, as they were received, are
// in dir meanwhile. progress is called with how many bytes of the layers have been downloaded, and
// how many there are; it must return quickly.
//
// It reports whether the image has set-user-ID or set-group-ID programs, or programs with capabilities.
// It returns the errors of registry.Resolve and registry.Flatten, ErrTooLarge if the import needs more
// resources than it may use, and ErrKilled.
func Import(ctx context.Context, image Image, dir string, file *os.File, progress func(fetched, total int64)) (setsPrivileges bool, err error) {
	request, err := json.Marshal(image)
	if err != nil {
		return false, err
	}
	spool, err := os.CreateTemp(dir, "husk-layers-*")
	if err != nil {
		return false, err
	}
	defer spool.Close()
	// The file has no name from here on, so it is gone when the processes end, in whatever way.
	if err := os.Remove(spool.Name()); err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Argument)
	for _, name := range []string{"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"} { // the last two name the operator's certificate authorities
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(request)
	stderr := &tail{}
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{spool, file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := errors.Join(spool.Chown(nobody, nobody), file.Chown(nobody, nobody)); err != nil {
			return false, err
		}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	// Pdeathsig is sent when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start the process that imports an image: %w", err)
	}
	last := follow(bufio.NewReaderSize(out, 64<<10), progress)
	waitErr := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of its group
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case last.Error != "":
		return false, last.err()
	case waitErr == nil && last.Done:
		return last.SetsPrivileges, nil
	case exhausted(cmd.ProcessState, stderr.String()):
		return false, &registry.ImageError{
			Kind: registry.ErrTooLarge, Cause: errors.Join(waitErr, unix.ENOMEM), Image: image.Reference, Why: "its import needs more memory or time than an import may use",
		}
	case signalOf(cmd.ProcessState) == syscall.SIGKILL:
		return false, ErrKilled
	default:
		return false, fmt.Errorf("the process that imports an image failed: %w: %s", errors.Join(waitErr, unix.EPIPE), stderr)
	}
}

// nobody is the user and group without rights of any kind (Debian: nobody and nogroup).
const nobody = 65534

// follow reads the child's messages to their end and returns the last one.
func follow(r *bufio.Reader, progress func(fetched, total int64)) message {
	var last message
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return last
		}
		var m message
		if json.Unmarshal(line, &m) != nil {
			return last
		}
		if last = m; m.Total > 0 {
			progress(m.Fetched, m.Total)
		}
	}
}

func (m message) err() error {
	for _, kind := range registry.Kinds {
		if kind.Error() == m.Kind && m.Failure != nil {
			m.Failure.Kind, m.Failure.Cause = kind, errors.New(m.Error)
			return m.Failure
		}
	}
	return errors.New(m.Error)
}

// exhausted reports whether a process ended because of its limits. A Go program that gets one of these signals ends with a text.
func exhausted(state *os.ProcessState, stderr string) bool {
	signal := signalOf(state)
	return signal == syscall.SIGXCPU || signal == syscall.SIGXFSZ ||
		slices.ContainsFunc([]string{"out of memory", "cannot allocate memory", "SIGXCPU", "SIGXFSZ"}, func(text string) bool { return strings.Contains(stderr, text) })
}

// signalOf returns the signal that ended a process, or 0.
func signalOf(state *os.ProcessState) syscall.Signal {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

// tail keeps the first part of what is written to it, where a Go program says why it ends.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[:min(len(p), 4096-min(len(t.text), 4096))]...)
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }
