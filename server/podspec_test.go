// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
)

func TestASpecGetsItsDefaults(t *testing.T) {
	t.Parallel()
	spec := husk.PodSpec{Containers: []husk.Container{{Name: "a", Image: "x", Files: []husk.File{{Path: "/etc/a"}, {Path: "/etc/b", Mode: "0600"}}}}}
	if err := completeSpec(&spec); err != nil {
		t.Fatal(err)
	}
	want := husk.PodSpec{
		RestartPolicy: husk.RestartAlways,
		Containers:    []husk.Container{{Name: "a", Image: "x", Files: []husk.File{{Path: "/etc/a", Mode: "0644"}, {Path: "/etc/b", Mode: "0600"}}}},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("the spec (-want +got):\n%s", diff)
	}
}

func TestASpecThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	one, two := uuid.New(), uuid.New()
	mount := func(volume, path string) husk.VolumeMount { return husk.VolumeMount{Volume: volume, MountPath: path} }
	container := func(change func(c *husk.Container)) husk.PodSpec {
		c := husk.Container{Name: "a", Image: "x"}
		change(&c)
		return husk.PodSpec{Containers: []husk.Container{c}, Volumes: []husk.PodVolume{{Name: "data", VolumeID: one}}}
	}
	for name, c := range map[string]struct {
		spec  husk.PodSpec
		code  husk.Code
		field string
	}{
		"two containers with one name":  {husk.PodSpec{Containers: []husk.Container{{Name: "a"}, {Name: "b"}, {Name: "a"}}}, husk.CodeInvalid, "spec.containers[2].name"},
		"two volumes with one name":     {husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: one}, {Name: "v", VolumeID: two}}}, husk.CodeInvalid, "spec.volumes[1].name"},
		"one volume twice":              {husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: one}, {Name: "w", VolumeID: one}}}, husk.CodeInvalid, "spec.volumes[1].volumeId"},
		"a mount of an unknown volume":  {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("other", "/a")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].volume"},
		"two mounts at one path":        {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a"), mount("data", "/a")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[1].mountPath"},
		"a mount over the root":         {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a mount that goes up":          {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a/../../b")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a mount with a trailing slash": {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a/")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a file with a zero byte":       {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a\x00b"}} }), husk.CodeInvalid, "spec.containers[0].files[0].path"},
		"a file where a volume is mounted": {container(func(c *husk.Container) {
			c.VolumeMounts, c.Files = []husk.VolumeMount{mount("data", "/a")}, []husk.File{{Path: "/a"}}
		}), husk.CodeInvalid, "spec.containers[0].files[0].path"},
		"a file with two contents":  {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a", Content: "x", ContentBase64: "eA=="}} }), husk.CodeInvalid, "spec.containers[0].files[0]"},
		"a file that is not base64": {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a", ContentBase64: "eA="}} }), husk.CodeInvalid, "spec.containers[0].files[0].contentBase64"},
		"a zero byte in a command":  {container(func(c *husk.Container) { c.Command = []string{"a\x00"} }), husk.CodeInvalid, "spec.containers[0]"},
		"a zero byte in a value":    {container(func(c *husk.Container) { c.Env = []husk.EnvVar{{Name: "A", Value: "\x00"}} }), husk.CodeInvalid, "spec.containers[0]"},
		"stdinOnce without stdin":   {container(func(c *husk.Container) { c.StdinOnce = true }), husk.CodeInvalid, "spec.containers[0].stdinOnce"},
	} {
		err := completeSpec(&c.spec)
		if e, ok := errors.AsType[*husk.Error](err); !ok || e.Code != c.code || e.Field != c.field {
			t.Errorf("%s: the error is %v, want %s about %s", name, err, c.code, c.field)
		}
	}
}

func TestDesiredStateInEachPhase(t *testing.T) {
	t.Parallel()
	want := map[husk.Phase]husk.DesiredPodState{
		husk.PhaseStarting: husk.DesiredRunning, husk.PhaseRunning: husk.DesiredRunning, husk.PhaseUnknown: husk.DesiredRunning,
		husk.PhaseSucceeded: husk.DesiredFinished, husk.PhaseFailed: husk.DesiredFinished, husk.PhaseStopping: husk.DesiredGone,
	}
	got := map[husk.Phase]husk.DesiredPodState{}
	for _, phase := range husk.Phases {
		if phase != husk.PhasePending && phase != husk.PhaseGone { // pods in these phases are on no node
			got[phase] = desiredStateOf(phase)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALeaseThatIsTooShortIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{Lease: 10 * time.Second, Heartbeat: 6 * time.Second}, {Lease: time.Second, Heartbeat: 500 * time.Millisecond}} {
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "at least twice the heartbeat") {
			t.Errorf("%v: %v", c, err)
		}
	}
}
