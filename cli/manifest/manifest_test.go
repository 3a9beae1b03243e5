// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk/openapi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each document in testdata has a golden file with the result or the mistakes.
func TestDocumentsAreReadOrTheirMistakesReported(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := outcome(t, raw)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func outcome(t *testing.T, raw []byte) string {
	t.Helper()
	docs, err := Parse("file", raw)
	if mistakes, ok := errors.AsType[MistakeErrors](err); ok {
		return strings.Join(mistakes, "\n") + "\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range docs {
		body := any(d.Volume)
		switch {
		case d.Pod != nil:
			body = struct {
				openapi.PodCreate
				VolumeNames map[string]string `json:"volumeNames"`
			}{d.Pod.PodCreate, d.Pod.VolumeNames}
		case d.Image != nil:
			body = d.Image
		case d.Config != nil:
			body = d.Config
		case d.Service != nil:
			body = d.Service
		case d.Ingress != nil:
			body = d.Ingress
		case d.Address != nil:
			body = d.Address
		case d.Group != nil:
			body = d.Group
		}
		text, err := json.MarshalIndent(body, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("# " + d.Where + " " + d.Ref() + "\n")
		for _, warning := range d.Warnings {
			b.WriteString("# warning: " + warning + "\n")
		}
		b.WriteString(string(text) + "\n")
	}
	return b.String()
}

func TestQuantitiesAreReadAsInKubernetes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"500m": 500, "0.5": 500, "2": 2000, ".1": 100, "1e1": 10_000, "0.0001": 1, "+1": 1000, "1k": 1_000_000} {
		var q cpuQuantity
		if err := q.set(text); err != nil || int64(q) != want {
			t.Errorf("%s cores: %d, %v; want %d", text, q, err, want)
		}
	}
	for text, want := range map[string]int64{"128Mi": 128 << 20, "1G": 1e9, "0.5Gi": 1 << 29, "1000": 1000, "128974848000m": 128974848, "1e3": 1000, "1E3": 1000} {
		var q memoryQuantity
		if err := q.set(text); err != nil || int64(q) != want {
			t.Errorf("%s of memory: %d, %v; want %d", text, q, err, want)
		}
	}
	for _, text := range []string{"", "m", "-1", "0", "1Mi ", "1 Mi", "1mi", "1e", "1e99", "1Ei9", "0x10", "NaN", "99999999999Pi", "1..2"} {
		var q memoryQuantity
		if err := q.set(text); err == nil {
			t.Errorf("%q is read as %d", text, q)
		}
	}
}

func TestVariablesAreExpandedAsInKubernetes(t *testing.T) {
	t.Parallel()
	values := map[string]string{"A": "a", "EMPTY": ""}
	for text, want := range map[string]string{
		"": "", "$(A)": "a", "x$(A)y$(A)": "xaya", "$(EMPTY)": "", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$$$(A)": "$a", "$A ${A}": "$A ${A}",
		"$(A": "$(A", "echo $(date) $(A)": "echo $(date) a", "$": "$", "$(": "$(", "$()": "$()",
	} {
		if got := expandVariables(text, values); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestDiffNamesTheFieldsThatDiffer(t *testing.T) {
	t.Parallel()
	pod := func(change func(*openapi.PodCreate)) openapi.PodCreate {
		p := openapi.PodCreate{Name: "web", Spec: openapi.PodSpec{
			Containers: []openapi.Container{{Name: "main", Image: "a", Files: &[]openapi.File{{Path: "/f"}}}},
			Resources:  openapi.Resources{CPUMillis: 500, MemoryMiB: 256},
			Volumes:    &[]openapi.PodVolume{{Name: "v", VolumeID: &uuid.UUID{1}}},
		}}
		change(&p)
		return p
	}
	// The server's response has the defaults, and empty lists for missing fields.
	always, grace, mode, readOnly, none := openapi.Always, 30, "0644", false, []openapi.VolumeMount{}
	have := pod(func(p *openapi.PodCreate) {
		p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = &always, &grace
		p.Spec.Containers[0].Files = &[]openapi.File{{Path: "/f", Mode: &mode}}
		p.Spec.Containers[0].VolumeMounts = &none
	})
	there := openapi.Pod{Name: "web", Labels: openapi.Labels{}, Spec: have.Spec}
	never, empty := openapi.Never, []string{""}
	for name, c := range map[string]struct {
		change func(*openapi.PodCreate)
		want   []string
	}{
		"nothing":           {func(*openapi.PodCreate) {}, nil},
		"explicit defaults": {func(p *openapi.PodCreate) { p.Labels = &openapi.Labels{}; p.Spec.RestartPolicy = &always }, nil},
		"the image":         {func(p *openapi.PodCreate) { p.Spec.Containers[0].Image = "b" }, []string{"spec.containers[0].image"}},
		"the policy":        {func(p *openapi.PodCreate) { p.Spec.RestartPolicy = &never }, []string{"spec.restartPolicy"}},
		"a label":           {func(p *openapi.PodCreate) { p.Labels = &openapi.Labels{"app.io/x": "y"} }, nil},
		"an empty argument": {func(p *openapi.PodCreate) {
			p.Spec.Containers[0].Args = &empty
			p.Spec.Containers[0].VolumeMounts = &[]openapi.VolumeMount{{Volume: "v", MountPath: "/v", ReadOnly: &readOnly}}
		}, []string{"spec.containers[0].args", "spec.containers[0].volumeMounts"}},
		"the volume":              {func(p *openapi.PodCreate) { (*p.Spec.Volumes)[0].VolumeID = &uuid.UUID{2} }, []string{"spec.volumes[0].volumeId"}},
		"an additional container": {func(p *openapi.PodCreate) { p.Spec.Containers = append(p.Spec.Containers, openapi.Container{}) }, []string{"spec.containers"}},
		"the grace period, 0":     {func(p *openapi.PodCreate) { zero := 0; p.Spec.TerminationGracePeriodSeconds = &zero }, []string{"spec.terminationGracePeriodSeconds"}},
	} {
		if diff := cmp.Diff(c.want, DiffPod(pod(c.change), there)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDirectoryIsReadWithAllItsDocuments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	volume := func(name string) []byte {
		return []byte("apiVersion: husk/v1\nkind: Volume\nsizeGiB: 1\nname: " + name)
	}
	for file, raw := range map[string][]byte{"b.yml": volume("b"), "a.yaml": volume("a"), "c.json": []byte("{\n\t\"apiVersion\": \"husk/v1\", \"kind\": \"Volume\", \"name\": \"c\", \"sizeGiB\": 1}"), "read.me": []byte("no")} {
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := Load([]string{dir, "-"}, strings.NewReader(string(volume("d"))))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		names = append(names, d.Name())
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, names); diff != "" {
		t.Error(diff)
	}
	if _, err := Load([]string{dir, dir}, nil); err == nil || !strings.Contains(err.Error(), "volume/a is also defined at "+filepath.Join(dir, "a.yaml")) {
		t.Errorf("the same documents twice: %v", err)
	}
	if _, err := Load([]string{t.TempDir()}, nil); err == nil {
		t.Error("an empty directory has documents")
	}
}

// Documents are untrusted input. Parse either reads a document or returns an error.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		docs, err := Parse("file", raw)
		if err == nil && len(docs) == 0 {
			t.Error("neither documents nor an error")
		}
		for _, d := range docs {
			if d.Pod != nil {
				DiffPod(d.Pod.PodCreate, openapi.Pod{})
				d.Locate("spec.containers[0].volumeMounts[0].volume")
			}
		}
	})
}
