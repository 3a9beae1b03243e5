// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
)

func TestThePodsEnvironmentTakesPrecedenceOverTheImages(t *testing.T) {
	t.Parallel()
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for name, c := range map[string]struct {
		image []string
		pod   []husk.EnvVar
		want  []string
	}{
		"nothing":                            {nil, nil, []string{path}},
		"the image's path":                   {[]string{"PATH=/bin"}, nil, []string{"PATH=/bin"}},
		"the pod's take precedence":          {[]string{"PATH=/bin", "A=1"}, []husk.EnvVar{{Name: "PATH", Value: "/x"}, {Name: "A", Value: "2"}}, []string{"PATH=/x", "A=2"}},
		"a value with equals signs":          {[]string{"A=b=c"}, []husk.EnvVar{{Name: "B", Value: "=d="}}, []string{path, "A=b=c", "B==d="}},
		"names that begin alike":             {[]string{"A=1", "AB=2"}, []husk.EnvVar{{Name: "A", Value: "3"}}, []string{path, "AB=2", "A=3"}},
		"a name twice":                       {nil, []husk.EnvVar{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}}, []string{path, "A=2"}},
		"an empty value":                     {[]string{"A=1"}, []husk.EnvVar{{Name: "A"}}, []string{path, "A="}},
		"entries that are not variables":     {[]string{"A", ""}, nil, []string{path}},
		"an image's variable without a name": {[]string{"=x"}, nil, []string{path}},
	} {
		if diff := cmp.Diff(c.want, husk.MergeContainer(husk.Container{Env: c.pod}, husk.ImageConfig{Env: c.image}).Env); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestThePodsSettingsTakePrecedenceOverTheImages(t *testing.T) {
	t.Parallel()
	image := husk.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}, WorkingDir: "/image", User: "image", StopSignal: "SIGQUIT"}
	for name, c := range map[string]struct {
		command, args, want []string
	}{
		"nothing":                            {nil, nil, []string{"/entry", "cmd"}},
		"arguments":                          {nil, []string{"a"}, []string{"/entry", "a"}},
		"no arguments, said so":              {nil, []string{}, []string{"/entry"}},
		"a command":                          {[]string{"/c"}, nil, []string{"/c"}},
		"a command and arguments":            {[]string{"/c"}, []string{"a"}, []string{"/c", "a"}},
		"a command that is an empty string":  {[]string{""}, []string{"a"}, []string{"/entry", "a"}},
		"an empty command without arguments": {[]string{}, nil, []string{}},
	} {
		got := husk.MergeContainer(husk.Container{Command: c.command, Args: c.args}, image)
		if diff := cmp.Diff(c.want, append([]string{}, got.Args...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want := husk.DesiredContainer{
		Name: "a", Args: []string{"/entry", "cmd"}, Env: husk.MergeContainer(husk.Container{}, husk.ImageConfig{}).Env, WorkingDir: "/image", User: "image",
		StopSignal: "SIGQUIT", Files: []husk.File{}, VolumeMounts: []husk.VolumeMount{},
	}
	if diff := cmp.Diff(want, husk.MergeContainer(husk.Container{Name: "a"}, image)); diff != "" {
		t.Errorf("the container (-want +got):\n%s", diff)
	}
	want.WorkingDir, want.User = "/pod", "pod"
	if diff := cmp.Diff(want, husk.MergeContainer(husk.Container{Name: "a", WorkingDir: "/pod", User: "pod"}, image)); diff != "" {
		t.Errorf("the container (-want +got):\n%s", diff)
	}
}

// Each of these was accepted once. Then its node never got a new desired state again.
func TestConfigurationsAreBounded(t *testing.T) {
	t.Parallel()
	many := make([]string, 40_000)
	for i := range many {
		many[i] = fmt.Sprintf("V%d=", i)
	}
	for name, c := range map[string]husk.ImageConfig{
		"40,000 variables":        {Env: many},
		"an entrypoint of 1,000":  {Entrypoint: slices.Repeat([]string{"x"}, 1000)},
		"a command of 3.9 MB":     {Cmd: []string{strings.Repeat("x", 3_900_000)}},
		"a user of 200 KB":        {User: strings.Repeat("x", 200_000)},
		"bytes that JSON escapes": {Env: []string{"A=" + strings.Repeat("\x01", 50_000)}},
	} {
		if err := c.Check(); husk.CodeOf(err) != husk.CodeImageUnsupported {
			t.Errorf("an image with %s: %v", name, err)
		}
	}
	if err := (husk.ImageConfig{Env: many[:husk.MaxImageStrings], Cmd: []string{strings.Repeat("<", 100<<10)}}).Check(); err != nil {
		t.Errorf("an image within the limits: %v", err)
	}
	large := husk.ImageConfig{Env: []string{"A=" + strings.Repeat("x", 100<<10)}}
	for name, c := range map[string]struct {
		containers int
		container  husk.Container
		ok         bool
	}{
		"seven containers of a large image":  {7, husk.Container{}, true},
		"eight containers of a large image":  {8, husk.Container{}, false},
		"500 KiB of <":                       {1, husk.Container{Args: []string{strings.Repeat("<", 500<<10)}}, true},
		"200 KiB of zero bytes in one value": {1, husk.Container{Args: []string{strings.Repeat("\x01", 200<<10)}}, false},
		"files of 400 KiB":                   {1, husk.Container{Files: []husk.File{{Path: "/a", Content: strings.Repeat("\x01", 400<<10)}}}, true},
		"files of 600 KiB":                   {1, husk.Container{Files: []husk.File{{Path: "/a", Content: strings.Repeat("x", 600<<10)}}}, false},
	} {
		var merged []husk.DesiredContainer
		for range c.containers {
			merged = append(merged, husk.MergeContainer(c.container, large))
		}
		if n := husk.GuestBytes(merged); (n <= husk.MaxGuestBytes) != c.ok {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

func FuzzMergedVariablesAreUnique(f *testing.F) {
	f.Add("A=1\x00A=2\x00=x\x00B")
	f.Fuzz(func(t *testing.T, image string) {
		seen := map[string]bool{}
		for _, e := range husk.MergeContainer(husk.Container{}, husk.ImageConfig{Env: strings.Split(image, "\x00")}).Env {
			name, _, ok := strings.Cut(e, "=")
			if !ok || name == "" || seen[name] {
				t.Errorf("the variable %q", e)
			}
			seen[name] = true
		}
		if !seen["PATH"] {
			t.Error("there is no PATH")
		}
	})
}

func TestContainersThatCannotStartAreRefused(t *testing.T) {
	t.Parallel()
	good := husk.ImageConfig{Cmd: []string{"x"}, WorkingDir: "app", StopSignal: "SIGRTMIN+3", User: "app:staff"}
	if got := husk.MergeContainer(husk.Container{}, good); got.WorkingDir != "/app" {
		t.Errorf("a relative working directory of an image becomes %q", got.WorkingDir)
	}
	for name, c := range map[string]struct {
		change func(*husk.Container, *husk.ImageConfig)
		field  string
	}{
		"nothing":               {func(*husk.Container, *husk.ImageConfig) {}, ""},
		"no command":            {func(_ *husk.Container, i *husk.ImageConfig) { i.Cmd = nil }, "spec.containers[0].command"},
		"an empty command":      {func(_ *husk.Container, i *husk.ImageConfig) { i.Cmd = []string{""} }, "spec.containers[0].command"},
		"no command, arguments": {func(c *husk.Container, i *husk.ImageConfig) { i.Cmd, c.Args = nil, []string{"x"} }, ""},
		"unknown stop signal":   {func(_ *husk.Container, i *husk.ImageConfig) { i.StopSignal = "SIGWHATEVER" }, "spec.containers[0].stopSignal"},
		"another stop signal":   {func(c *husk.Container, i *husk.ImageConfig) { i.StopSignal, c.StopSignal = "SIGWHATEVER", "INT" }, ""},
		"a user with a newline": {func(_ *husk.Container, i *husk.ImageConfig) { i.User = "a\nb" }, "spec.containers[0].user"},
		"another user":          {func(c *husk.Container, i *husk.ImageConfig) { i.User, c.User = "a\nb", "c" }, ""},
	} {
		container, image := husk.Container{}, good
		c.change(&container, &image)
		err := husk.CheckStart(husk.MergeContainer(container, image), "spec.containers[0]")
		e, refused := errors.AsType[*husk.Error](err)
		if refused != (c.field != "") || refused && (e.Field != c.field || e.Code != husk.CodeInvalid) {
			t.Errorf("%s: the error is %v, want one about %q", name, err, c.field)
		}
	}
}

func TestPrivilegesCannotGrowUnlessTheImageOrThePodNeedsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image, pod *bool
		privileged bool
		want       *bool
	}{
		"an image from before":              {nil, nil, false, nil},
		"an image with sudo":                {new(true), nil, false, new(false)},
		"an image without":                  {new(false), nil, false, new(true)},
		"the pod allows it":                 {new(false), new(false), false, new(false)},
		"the pod forbids it":                {new(true), new(true), false, new(true)},
		"the pod forbids it, image unknown": {nil, new(true), false, new(true)},
		"privileged":                        {new(false), nil, true, nil},
	} {
		got := husk.MergeContainer(husk.Container{Privileged: c.privileged, ContainerOptions: husk.ContainerOptions{NoNewPrivileges: c.pod}}, husk.ImageConfig{SetsPrivileges: c.image})
		if diff := cmp.Diff(c.want, got.NoNewPrivileges); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestThePodsStopSignalTakesPrecedence(t *testing.T) {
	t.Parallel()
	if got := husk.MergeContainer(husk.Container{StopSignal: "SIGINT"}, husk.ImageConfig{StopSignal: "SIGQUIT"}).StopSignal; got != "SIGINT" {
		t.Errorf("the signal is %s", got)
	}
}
