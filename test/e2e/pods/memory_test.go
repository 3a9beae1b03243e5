// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/uuid"

	"husk/openapi"
	"husk/test/stack"
)

// maxGrowth is how much memory hostile images and configurations may take in the server and in the
// agent, in MiB. Imports have a process of their own, which does not count.
const maxGrowth = 64

// Images of a few kilobytes used to take gigabytes, and configurations of some megabytes were sent
// to the nodes again and again.
func TestHostileImagesTakeLittleMemory(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	images := map[string]v1.Image{
		"implied directories": withEntries(t, 5000, func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%d/%sx", i, strings.Repeat("d/", 1000))}
		}),
		"attributes": withEntries(t, 9_000, func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("a%d", i), PAXRecords: map[string]string{
				"SCHILY.xattr.user.a": strings.Repeat(fmt.Sprint(i%10), 1<<16),
			}}
		}),
		"many variables":      withConfig(t, func(c *v1.Config) { c.Env = variables(40_000, "x") }),
		"a large variable":    withConfig(t, func(c *v1.Config) { c.Env = variables(1, strings.Repeat("<", 3_900_000)) }),
		"a permitted config":  withConfig(t, func(c *v1.Config) { c.Env = variables(500, strings.Repeat("<", 200)) }),
		"many labels":         withConfig(t, func(c *v1.Config) { c.Labels = map[string]string{"a": strings.Repeat("&", 3_900_000)} }),
		"a config of a novel": withConfig(t, func(c *v1.Config) { c.Cmd = variables(40_000, "word") }),
	}
	watched := watchMemory(t, tn.Stack, "server", "agent")
	var all sync.WaitGroup
	for what, image := range images {
		all.Go(func() {
			ref := fmt.Sprintf("%s/hostile/%s:1", tn.Env["HUSK_REGISTRY"], uuid.NewString())
			where, err := name.ParseReference(ref, name.Insecure)
			if err == nil {
				err = remote.Write(where, image)
			}
			if err != nil {
				t.Errorf("push %s: %v", what, err)
				return
			}
			began := time.Now()
			imported, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: ref})
			if err != nil {
				t.Logf("%s: refused: %.150v", what, err)
				return
			}
			stack.Eventually(t, 2*time.Minute, func() error {
				now, err := tn.API.Images.Get(t.Context(), imported.ID)
				if err == nil && now.State == openapi.ImageStateImporting {
					err = fmt.Errorf("%s: still importing: %s", what, stack.Value(now.Message))
				}
				imported = now
				return err
			})
			t.Logf("%s: %s after %s: %.150s", what, imported.State, time.Since(began).Round(time.Second), stack.Value(imported.Message))
			if imported.State == openapi.ImageStateReady {
				createLargePods(t, tn, what, ref)
			}
		})
	}
	all.Wait()
	pod := tn.Create(t, "neighbor", stack.Idle(busybox))
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning) // nothing has stopped the node
	for process, growth := range watched() {
		t.Logf("the %s grew by %d MiB", process, growth)
		if growth > maxGrowth {
			t.Errorf("the %s grew by %d MiB, more than %d", process, growth, maxGrowth)
		}
	}
}

// createLargePods creates pods of many containers with an image, as large as they may be.
func createLargePods(t *testing.T, tn *stack.Tenant, what, ref string) {
	t.Helper()
	for i := range 2 {
		spec := openapi.PodSpec{Resources: openapi.Resources{CPUMillis: 100, MemoryMiB: 128}}
		for n := range 7 {
			c := stack.Shell(ref, "true")
			c.Name = fmt.Sprintf("c%d", n)
			spec.Containers = append(spec.Containers, c)
		}
		pod, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: fmt.Sprintf("large-%d-%s", i, strings.ReplaceAll(what, " ", "-")), Spec: spec})
		if err != nil {
			t.Logf("pod of %s: %.200v", what, err)
			return
		}
		stack.Eventually(t, 2*time.Minute, func() error { // with 500 variables in each of its containers
			now, err := tn.Get(t.Context(), pod.ID)
			if err == nil && now.Status.Timeline.GuestReadyAt == nil {
				err = errors.New("the pod has not reached its guest")
			}
			return err
		})
		if err := tn.API.Pods.Delete(t.Context(), pod.ID); err != nil {
			t.Error(err)
		}
	}
}

func variables(n int, value string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("V%d=%s", i, value)
	}
	return list
}

func withConfig(t *testing.T, change func(*v1.Config)) v1.Image {
	t.Helper()
	image := withEntries(t, 1, func(int) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: "a"} })
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	change(&file.Config)
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// withEntries returns an image with one layer. The headers describe empty files.
func withEntries(t *testing.T, n int, entry func(int) *tar.Header) v1.Image {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for i := range n {
		h := entry(i)
		h.Mode = 0o644
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file.Architecture, file.OS, file.Config.Cmd = "amd64", "linux", []string{"true"}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// watchMemory measures the memory of children of huskd dev until the returned function is called,
// which returns by how much each has grown at most, in MiB.
func watchMemory(t *testing.T, s *stack.Stack, names ...string) func() map[string]int {
	t.Helper()
	idle, most := map[string]int{}, map[string]int{}
	for _, name := range names {
		idle[name] = memoryOf(t, s, name)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
				for _, name := range names {
					most[name] = max(most[name], memoryOf(t, s, name)-idle[name])
				}
			}
		}
	}()
	return func() map[string]int {
		close(end)
		<-ended
		return most
	}
}

// memoryOf returns the memory that a child of huskd dev does not share with files, in MiB.
func memoryOf(t *testing.T, s *stack.Stack, name string) int {
	t.Helper()
	pid, err := s.PID(name)
	if err != nil {
		t.Error(err)
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	var kib int
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			return kib >> 10
		}
	}
	t.Errorf("%s has no RssAnon", name)
	return 0
}
