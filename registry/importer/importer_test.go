// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"husk/egress"
	husk "husk/registry"
)

func TestMain(m *testing.M) {
	BeChild()
	goleak.VerifyTestMain(m)
}

var local = egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// pushed returns a reference to an image with one layer, in a registry behind wrap.
func pushed(t *testing.T, write func(*tar.Writer), wrap func(http.Handler) http.Handler) string {
	t.Helper()
	plain := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(wrap(plain))
	t.Cleanup(s.Close)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	direct := httptest.NewServer(plain)
	t.Cleanup(direct.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(direct.URL, "http://") + "/image:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(s.URL, "http://") + "/image:1"
}

func unwrapped(h http.Handler) http.Handler { return h }

func file(size int64) func(*tar.Writer) {
	return func(w *tar.Writer) {
		_ = w.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: size, Typeflag: tar.TypeReg})
		_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{1}), size)
	}
}

// output returns an empty file for a squashfs.
func output(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestAnImageBecomesASquashfs(t *testing.T) {
	t.Parallel()
	ref, out := pushed(t, file(3<<20), unwrapped), output(t)
	var last, total int64
	setsPrivileges, err := Import(t.Context(), Image{Reference: ref, Egress: local}, t.TempDir(), out, func(n, of int64) { last, total = n, of })
	if err != nil || setsPrivileges {
		t.Fatal(setsPrivileges, err)
	}
	listing, err := exec.CommandContext(t.Context(), "unsquashfs", "-ll", out.Name()).CombinedOutput()
	if err != nil || !strings.Contains(string(listing), "3145728") {
		t.Errorf("the squashfs contains %v\n%s", err, listing)
	}
	if total < 3<<20 || last != total {
		t.Errorf("the last progress is %d of %d bytes", last, total)
	}
}

func TestTheChildReportsProgramsThatSetPrivileges(t *testing.T) {
	t.Parallel()
	ref := pushed(t, func(w *tar.Writer) { _ = w.WriteHeader(&tar.Header{Name: "su", Mode: 0o4755, Typeflag: tar.TypeReg}) }, unwrapped)
	setsPrivileges, err := Import(t.Context(), Image{Reference: ref, Egress: local}, t.TempDir(), output(t), func(int64, int64) {})
	if err != nil || !setsPrivileges {
		t.Error(setsPrivileges, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	t.Parallel()
	ref := pushed(t, file(1), unwrapped)
	for what, c := range map[string]struct {
		ref  string
		want error
	}{
		"an unknown image":    {strings.Replace(ref, "image:1", "none:1", 1), husk.ErrNotFound},
		"a forbidden address": {"10.0.0.1/image:1", husk.ErrForbidden},
		"no registry":         {"127.0.0.1:1/image:1", husk.ErrUnreachable},
	} {
		if _, err := Import(t.Context(), Image{Reference: c.ref, Egress: local}, t.TempDir(), output(t), func(int64, int64) {}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

// A registry that sends one byte at a time must not occupy an import for hours.
func TestASlowRegistryIsGivenUp(t *testing.T) {
	t.Parallel()
	ref := pushed(t, file(1<<20), func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/blobs/") || r.Method != http.MethodGet {
				h.ServeHTTP(w, r)
				return
			}
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			if answer.Body.Len() < 64<<10 { // the config
				_, _ = w.Write(answer.Body.Bytes())
				return
			}
			for _, b := range answer.Body.Bytes() {
				_, _ = w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	})
	_, err := Import(t.Context(), Image{Reference: ref, Egress: local, Slow: Slow{Bytes: 64 << 10, Period: time.Second}}, t.TempDir(), output(t), func(int64, int64) {})
	if !errors.Is(err, husk.ErrTooSlow) {
		t.Errorf("got %v", err)
	}
}

// children returns the processes that import for this one.
func children(t *testing.T) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, stat := range stats {
		raw, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if fields[1] == strconv.Itoa(os.Getpid()) && fields[0] != "Z" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// What kills the process of an import does not kill the caller, and the caller learns why.
func TestAProcessThatDiesIsAnError(t *testing.T) { //nolint:paralleltest // it looks for the only child of this process
	blocked := make(chan struct{})
	ref := pushed(t, file(1<<20), func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				<-blocked
			}
			h.ServeHTTP(w, r)
		})
	})
	defer close(blocked)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := func() int {
		t.Helper()
		go func() {
			_, err := Import(ctx, Image{Reference: ref, Egress: local}, t.TempDir(), output(t), func(int64, int64) {})
			ended <- err
		}()
		deadline := time.Now().Add(30 * time.Second)
		for {
			if pids := children(t); len(pids) == 1 {
				return pids[0]
			}
			if time.Now().After(deadline) {
				t.Fatal("no process imports")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	pid := begin()
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); os.Geteuid() == 0 && (err != nil || !strings.Contains(string(status), "Uid:\t65534\t65534\t65534\t65534")) {
		t.Errorf("the process of an import runs as another user: %v\n%s", err, status)
	}
	if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)); err != nil || !strings.Contains(string(limits), fmt.Sprintf("Max data size             %d", maxMemory)) {
		t.Errorf("the limits of the process of an import are %v\n%s", err, limits)
	}
	// At the soft limit of CPU time, the kernel sends SIGXCPU, and at the hard limit SIGKILL, which has other causes too.
	if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)); err != nil || !strings.Contains(string(limits), fmt.Sprintf("Max cpu time              %d                 %d", maxCPU, maxCPU+60)) {
		t.Errorf("the limits of the process of an import are %v\n%s", err, limits)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrKilled) {
		t.Errorf("a killed process is reported as %v", err)
	}
	begin()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled import: %v", err)
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("a canceled import leaves the processes %v", left)
	}
}

func TestAnArchiveWithPaddingIsComplete(t *testing.T) {
	t.Parallel()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	file(1 << 20)(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		fill func(context.Context, io.Writer) error
		ok   bool
	}{
		"more padding than a pipe can hold": {func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, io.MultiReader(bytes.NewReader(archive.Bytes()), bytes.NewReader(make([]byte, 1<<20))))
			return err
		}, true},
		"a failure after what looks like the end": {func(_ context.Context, w io.Writer) error {
			_, err := w.Write(make([]byte, 10240))
			return errors.Join(err, io.ErrUnexpectedEOF)
		}, false},
		"text": {func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("this is not a tar archive", 1000))
			return err
		}, false},
	} {
		err := squash(t.Context(), output(t).Name(), func(ctx context.Context, open func(husk.Root) (io.Writer, error)) error {
			w, err := open(husk.Root{Mode: 0o755})
			if err != nil {
				return err
			}
			return c.fill(ctx, w)
		})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A process says with its signal, or with its last words, that it has reached a limit. SIGKILL says nothing.
func TestOnlyLimitsMakeAnImportTooLarge(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]bool{
		"kill -XCPU $$": true, "kill -XFSZ $$": true, "kill -KILL $$": false, "kill -TERM $$": false, "exit 2": false,
		"echo 'fatal error: runtime: out of memory' >&2; exit 2": true, "echo 'SIGXCPU: cpu limit exceeded' >&2; exit 2": true,
	} {
		stderr := &tail{}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Stderr = stderr
		if err := cmd.Run(); err == nil {
			t.Fatalf("%s succeeds", script)
		}
		if got := exhausted(cmd.ProcessState, stderr.String()); got != want {
			t.Errorf("%s: %v", script, got)
		}
	}
}

func TestTheRootDirectoryKeepsItsOwnerAndMode(t *testing.T) {
	t.Parallel()
	ref := pushed(t, func(w *tar.Writer) {
		_ = w.WriteHeader(&tar.Header{Name: "./", Mode: 0o1750, Uid: 1234, Gid: 70000, Typeflag: tar.TypeDir})
		_ = w.WriteHeader(&tar.Header{Name: "old", Mode: 0o644, ModTime: time.Unix(-100, 0), Typeflag: tar.TypeReg, Format: tar.FormatPAX})
		_ = w.WriteHeader(&tar.Header{Name: "new", Mode: 0o644, ModTime: time.Unix(1<<33, 0), Typeflag: tar.TypeReg, Format: tar.FormatPAX})
	}, unwrapped)
	out := output(t)
	if _, err := Import(t.Context(), Image{Reference: ref, Egress: local}, t.TempDir(), out, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unsquashfs", "-UTC", "-lln", out.Name())
	listing, err := cmd.CombinedOutput()
	for _, want := range []string{"drwxr-x--T 1234/70000 ", "1970-01-01 00:00 squashfs-root/old", "2106-02-07 06:28 squashfs-root/new"} {
		if err != nil || !strings.Contains(string(listing), want) {
			t.Errorf("%q is missing: %v\n%s", want, err, listing)
		}
	}
}

// What the registry said arrives from the process of the import.
func TestTheReasonOfAFailureIsKept(t *testing.T) {
	t.Parallel()
	ref := pushed(t, file(1), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(http.StatusTooManyRequests)
		})
	})
	_, err := Import(t.Context(), Image{Reference: ref, Egress: local}, t.TempDir(), output(t), func(int64, int64) {})
	failure, ok := errors.AsType[*husk.ImageError](err)
	if !ok || !errors.Is(err, husk.ErrRateLimited) || failure.RetryAfter != 90*time.Second || failure.Status != http.StatusTooManyRequests || failure.Registry == "" {
		t.Errorf("got %#v", err)
	}
}
