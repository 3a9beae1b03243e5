// SPDX-License-Identifier: Apache-2.0

// Package onewriter judges whether a volume has one writer at a time, whatever fails. Pods run a program that writes numbered records to a volume as
// fast as it can, and that says which ones are stored. The checker compares what the runs of the program have said with what the volume holds.
package onewriter

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/images"
	"husk/test/onewriter/record"
	"husk/test/stack"
)

// Image builds the image of the writer, pushes it to the fleet's registry and imports it.
func Image(t testing.TB, tn *stack.Tenant) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "writer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "husk/test/onewriter/writer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the writer: %v: %s", err, out)
	}
	raw, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = errors.Join(w.WriteHeader(&tar.Header{Name: "writer", Mode: 0o755, Size: int64(len(raw))}), second(w.Write(raw)), w.Close())
	cache, e := images.CacheDir()
	built, e2 := images.Build(t.Context(), cache, "busybox")
	if err := errors.Join(err, e, e2); err != nil {
		t.Fatal(err)
	}
	top, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(built["busybox"], top)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), tn.Env["HUSK_REGISTRY"], map[string]v1.Image{"writer": img})
	if err != nil {
		t.Fatal(err)
	}
	created, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: refs["writer"]})
	if err != nil {
		t.Fatal(err)
	}
	tn.WaitForImage(t, created.ID)
	return refs["writer"]
}

func second[T any](_ T, err error) error { return err }

// History is what a pod's runs of the writer have said, in the order in which each run has said it.
type History struct {
	Pod    openapi.Pod
	tn     *stack.Tenant
	volume uuid.UUID

	mu    sync.Mutex
	runs  []run // in the order in which they opened the file
	fault string
}

// run is one run of the writer: what it found, and the last record that it knows to be stored.
type run struct {
	owner string
	found int
	wrote int
}

// Start starts a pod with a volume that it writes as fast as it can, and follows what it says.
func Start(t testing.TB, tn *stack.Tenant, image, name string, change func(*openapi.PodSpec)) *History {
	t.Helper()
	volume := tn.Volume(t, name)
	spec := openapi.PodSpec{
		Resources:  openapi.Resources{CPUMillis: 400, MemoryMiB: 128},
		Volumes:    &[]openapi.PodVolume{volume},
		Containers: []openapi.Container{{Name: "main", Image: image, Command: &[]string{"/writer", "/data/journal"}, VolumeMounts: &[]openapi.VolumeMount{{Volume: name, MountPath: "/data"}}}},
	}
	if change != nil {
		change(&spec)
	}
	pod, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: name, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	h := &History{tn: tn, Pod: pod, volume: *volume.VolumeID}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() {
		for ctx.Err() == nil { // until the pod is deleted; the log of each placement is a new one
			for line, err := range tn.API.Pods.Logs(ctx, pod.ID, client.LogOptions{Follow: true}) {
				if err == nil {
					h.says(line.Line)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); following.Wait() })
	return h
}

// says notes one line. A line may arrive twice, after the connection was opened again.
func (h *History) says(line string) {
	var what, owner string
	var n int
	if _, err := fmt.Sscan(line, &what, &owner, &n); err != nil {
		if strings.HasPrefix(line, "error") {
			h.mu.Lock()
			h.fault = line
			h.mu.Unlock()
		}
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.runs {
		if h.runs[i].owner == owner {
			if what == "wrote" {
				h.runs[i].wrote = max(h.runs[i].wrote, n)
			}
			return
		}
	}
	if what == "open" {
		h.runs = append(h.runs, run{owner, n, n})
	}
}

// Writes waits until a run of the writer, counted from 1, has stored this many records more than it found.
func (h *History) Writes(t testing.TB, which, records int) {
	t.Helper()
	stack.Eventually(t, 2*time.Minute, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.fault != "" {
			t.Fatalf("the writer failed: %s", h.fault)
		}
		if len(h.runs) < which {
			return fmt.Errorf("the writer of pod %s was started %d times, not %d", h.Pod.Name, len(h.runs), which)
		}
		if r := h.runs[which-1]; r.wrote-r.found < records {
			return fmt.Errorf("run %d of the writer of pod %s has stored %d records", which, h.Pod.Name, r.wrote-r.found)
		}
		return nil
	})
}

// WritesOn waits until the latest run of the writer has stored this many records more than now. Another run may be the latest by then.
func (h *History) WritesOn(t testing.TB, records int) {
	t.Helper()
	stored := func() (n int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, r := range h.runs {
			n = max(n, r.wrote)
		}
		return n
	}
	before := stored()
	stack.Eventually(t, 2*time.Minute, func() error {
		if now := stored(); now-before < records {
			return fmt.Errorf("the writer of pod %s has stored %d records since then", h.Pod.Name, now-before)
		}
		return nil
	})
}

// Continues waits until the newest run of the writer has stored a record, and is not one of the first runs. So nothing of a run is missed because
// the next fault comes before its log was read.
func (h *History) Continues(t testing.TB, first int) {
	t.Helper()
	stack.Eventually(t, 2*time.Minute, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.fault != "" {
			t.Fatalf("the writer failed: %s", h.fault)
		}
		if len(h.runs) <= first || len(h.runs) == 0 {
			return fmt.Errorf("the writer of pod %s was started %d times", h.Pod.Name, len(h.runs))
		}
		if r := h.runs[len(h.runs)-1]; r.wrote == r.found {
			return fmt.Errorf("the newest run of the writer of pod %s has stored nothing", h.Pod.Name)
		}
		return nil
	})
}

// state is what the volume holds: who has opened it last, and how many records.
type state struct {
	owner   string
	records int
}

// operation is one step of a history. open finds records; write stores them up to a number; final finds all records, by owner.
type operation struct {
	kind  string
	owner string
	n     int
}

// model says what a volume with one writer at a time may do: only the last run that has opened it writes, each record after the one before.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) {
		was, op := s.(state), in.(operation)
		switch op.kind {
		case "open":
			return op.n == was.records, state{op.owner, was.records}
		case "write":
			return op.owner == was.owner && op.n == was.records+1, state{op.owner, op.n}
		default:
			return op.n == was.records, was
		}
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, _ any) string { op := in.(operation); return fmt.Sprintf("%s %s %d", op.kind, op.owner, op.n) },
}

// Check reads the volume after its pod was stopped, and judges the history with it. It returns an error if the volume has had two writers, or has
// lost a record that a writer knew to be stored.
func (h *History) Check(t testing.TB) error {
	t.Helper()
	found, err := h.volumeContents(t)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	owners := map[int]string{} // of each record that was said to be stored
	for _, r := range h.runs {
		for n := r.found + 1; n <= r.wrote; n++ {
			if other := owners[n]; other != "" {
				return fmt.Errorf("both %s and %s have stored record %d", other, r.owner, n)
			}
			owners[n] = r.owner
		}
	}
	for n, owner := range owners {
		if n > len(found) || found[n-1] != (record.Record{Owner: owner, Number: n}) {
			return fmt.Errorf("record %d of %s was stored, and the volume has %v there", n, owner, found[min(n, len(found))-1:min(n, len(found))])
		}
	}
	// What a run has stored last may be unknown to it: the operation is pending until the end.
	var ops []porcupine.Operation
	at := int64(0)
	for i, r := range h.runs {
		add := func(op operation, pending bool) {
			end := at + 1
			if pending {
				end = math.MaxInt64
			}
			ops = append(ops, porcupine.Operation{ClientId: i, Input: op, Call: at, Return: end})
			at += 2
		}
		add(operation{kind: "open", owner: r.owner, n: r.found}, false)
		last := r.wrote
		for last < len(found) && found[last].Owner == r.owner { // stored, but nobody has heard of it
			last++
		}
		for n := r.found + 1; n <= last; n++ {
			add(operation{kind: "write", owner: r.owner, n: n}, false)
		}
	}
	ops = append(ops, porcupine.Operation{ClientId: len(h.runs), Input: operation{kind: "final", n: len(found)}, Call: at, Return: at + 1})
	if !porcupine.CheckOperations(model, ops) {
		return fmt.Errorf("no order of these runs explains a volume with %d records: %+v", len(found), h.runs)
	}
	t.Logf("volume of pod %s: %d records of %d runs: %+v", h.Pod.Name, len(found), len(h.runs), h.runs)
	return nil
}

// volumeContents stops the pod and reads the records from the volume's own RBD image, and checks its file system.
func (h *History) volumeContents(t testing.TB) ([]record.Record, error) {
	t.Helper()
	if _, err := h.tn.API.Pods.Stop(t.Context(), h.Pod.ID); err != nil {
		return nil, err
	}
	h.tn.Wait(t, h.Pod.ID, openapi.PodPhaseStopped)
	dir := t.TempDir()
	raw, journal := filepath.Join(dir, "raw"), filepath.Join(dir, "journal")
	h.tn.RBD(t, "export", "--no-progress", "husk-volumes/vol-"+h.volume.String(), raw)
	for _, args := range [][]string{{"-y", "-E", "journal_only"}, {"-fn"}} { // a machine that was killed has not emptied its file system's journal
		if out, err := exec.CommandContext(t.Context(), "e2fsck", append(args, raw)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("the volume's file system is damaged: %w: %s", err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "debugfs", "-R", "dump /journal "+journal, raw).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("debugfs: %w: %s", err, out)
	}
	f, err := os.Open(journal)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return record.Read(f)
}

// Runs returns how many times the writer was started.
func (h *History) Runs() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.runs)
}
