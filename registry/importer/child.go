// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"husk/registry"
)

// The limits of an import's processes: the reader of the image and sqfstar. The largest images in use need a few minutes of CPU time and
// a few hundred MiB.
const (
	maxMemory  = 2 << 30 // of each process; the metadata of an image counts against registry.Limits first
	goMemory   = 1 << 30 // from here on, the collector works harder
	maxCPU     = 30 * 60 // seconds, of each process
	maxThreads = 1024    // of all imports together, because they have the same user
	maxCores   = 4       // of each process, so that the number of threads does not grow with the machine
	maxFile    = 128 << 30

	squashMemory = "256M"
)

const (
	resolveTimeout = time.Minute
	progressEvery  = 250 * time.Millisecond
)

// BeChild imports an image and ends the process, if the process was started for that by Import.
// Otherwise, it does nothing.
func BeChild() {
	if len(os.Args) != 2 || os.Args[1] != Argument {
		return
	}
	out := json.NewEncoder(os.Stdout)
	setsPrivileges, err := child(out)
	if err != nil {
		m := message{Error: err.Error()}
		if f, ok := errors.AsType[*registry.ImageError](err); ok {
			m = message{Error: f.Cause.Error(), Kind: f.Kind.Error(), Failure: f}
		}
		_ = out.Encode(m) //nolint:errchkjson // without a parent nobody needs it
		os.Exit(1)
	}
	_ = out.Encode(message{Done: true, SetsPrivileges: setsPrivileges}) //nolint:errchkjson // as above
	os.Exit(0)
}

// child reports whether the image has programs that set privileges.
func child(out *json.Encoder) (setsPrivileges bool, err error) {
	if err := limit(); err != nil {
		return false, err
	}
	var image Image
	if err := json.NewDecoder(os.Stdin).Decode(&image); err != nil {
		return false, fmt.Errorf("read the request: %w", err)
	}
	ctx := context.Background()
	resolving, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	resolved, err := registry.Resolve(resolving, image.Egress, image.Reference, image.Auth)
	if err != nil {
		return false, err
	}
	downloading, tooSlow := context.WithCancelCause(ctx)
	defer tooSlow(nil)
	var fetched atomic.Int64
	spool := os.NewFile(spoolFD, "the work directory")
	resolved.Fetched = fetched.Store
	finished := make(chan struct{})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		report(out, &fetched, resolved.SizeBytes, image.Slow, finished, tooSlow)
	}()
	err = squash(downloading, "/proc/self/fd/"+strconv.Itoa(squashfsFD), func(ctx context.Context, open func(registry.Root) (io.Writer, error)) error {
		return resolved.Flatten(ctx, spool, open)
	})
	close(finished)
	<-reported // the last message comes after the last progress
	if cause := context.Cause(downloading); cause != nil {
		return false, &registry.ImageError{Kind: registry.ErrTooSlow, Cause: cause, Image: image.Reference, Registry: resolved.Registry()}
	}
	return resolved.SetsPrivileges, err
}

// limit limits this process and those that it starts.
func limit() error {
	debug.SetMemoryLimit(goMemory)
	runtime.GOMAXPROCS(cores())
	limits := map[int]uint64{unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_FSIZE: maxFile, unix.RLIMIT_CORE: 0}
	if os.Geteuid() == nobody { // another user has other processes, which count too
		limits[unix.RLIMIT_NPROC] = maxThreads
	}
	for resource, n := range limits {
		most := n
		if resource == unix.RLIMIT_CPU {
			most += 60 // at this limit the signal is SIGKILL, which has other causes too; at the first one it is SIGXCPU
		}
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: most}); err != nil {
			return fmt.Errorf("limit the import's resources: %w", err)
		}
	}
	return nil
}

func cores() int { return min(runtime.NumCPU(), maxCores) }

// report sends the progress until the import has finished, and ends the download if the registry is too slow.
func report(out *json.Encoder, fetched *atomic.Int64, total int64, slow Slow, finished <-chan struct{}, tooSlow context.CancelCauseFunc) {
	if slow == (Slow{}) {
		slow = DefaultSlow
	}
	tick := time.NewTicker(min(progressEvery, slow.Period))
	defer tick.Stop()
	sent, before, since := int64(-1), int64(0), time.Now()
	for last := false; !last; {
		select {
		case <-finished:
			last = true
		case <-tick.C:
		}
		now := fetched.Load()
		if now != sent {
			if err := out.Encode(message{Fetched: now, Total: total}); err != nil {
				return // the parent has ended
			}
			sent = now
		}
		if now < total && time.Since(since) >= slow.Period {
			if now-before < slow.Bytes {
				tooSlow(fmt.Errorf("%d bytes in %s", now-before, slow.Period))
			}
			before, since = now, time.Now()
		}
	}
}
