// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"husk/signals"
)

// Limits of what a guest gets in one frame.
const (
	// MaxGuestBytes limits a pod's containers in the JSON form that the guest gets, after image and pod are merged. Together with names, volumes and
	// mounts it stays below the largest frame of the guest's channel.
	MaxGuestBytes = 768 << 10
	// MaxFrameBytes is the largest frame of the guest's channel. A pod that an earlier version accepted may run with so much.
	MaxFrameBytes = 1 << 20
	// MaxImageStrings limits the variables of an image's configuration, and the elements of its entrypoint and of its command.
	MaxImageStrings = 512
	// MaxImageBytes limits an image's configuration as JSON.
	MaxImageBytes = 128 << 10
)

// MergeContainer merges an image's configuration with the pod's overrides, as Kubernetes does: a command replaces the image's entrypoint and
// its arguments; arguments without a command replace the image's arguments only. A command that is one empty string is none.
func MergeContainer(c Container, image ImageConfig) DesiredContainer {
	args := slices.Concat(image.Entrypoint, image.Cmd)
	switch hasCommand := c.Command != nil && !slices.Equal(c.Command, []string{""}); {
	case hasCommand:
		args = slices.Concat(c.Command, c.Args)
	case c.Args != nil:
		args = slices.Concat(image.Entrypoint, c.Args)
	}
	d := DesiredContainer{
		Name: c.Name, Args: args, Env: mergeEnv(image.Env, c.Env), WorkingDir: c.WorkingDir, User: c.User, StopSignal: image.StopSignal,
		Files: c.Files, VolumeMounts: c.VolumeMounts, Stdin: c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY, Privileged: c.Privileged, StartOnAttach: c.StartOnAttach,
		ContainerOptions: c.ContainerOptions,
	}
	if c.StopSignal != "" {
		d.StopSignal = c.StopSignal
	}
	if d.NoNewPrivileges == nil && image.SetsPrivileges != nil && !c.Privileged {
		d.NoNewPrivileges = new(!*image.SetsPrivileges)
	}
	if d.Args == nil {
		d.Args = []string{}
	}
	if d.WorkingDir == "" && image.WorkingDir != "" {
		d.WorkingDir = path.Join("/", image.WorkingDir) // images may have a relative one
	}
	if d.User == "" {
		d.User = image.User
	}
	if d.Files == nil {
		d.Files = []File{}
	}
	if d.VolumeMounts == nil {
		d.VolumeMounts = []VolumeMount{}
	}
	return d
}

// mergeEnv merges the pod's variables into the image's. As in Docker, there is always a PATH. A later variable of the same name replaces an
// earlier one and takes its place at the end.
func mergeEnv(image []string, pod []EnvVar) []string {
	all := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, image...)
	for _, e := range pod {
		all = append(all, e.Name+"="+e.Value)
	}
	seen := make(map[string]bool, len(all))
	merged := make([]string, 0, len(all))
	for _, e := range slices.Backward(all) {
		name, _, ok := strings.Cut(e, "=")
		if ok && name != "" && !seen[name] {
			seen[name] = true
			merged = append(merged, e)
		}
	}
	slices.Reverse(merged)
	return merged
}

// GuestBytes returns the size of containers in the form that the guest gets.
func GuestBytes(containers []DesiredContainer) int {
	n := 0
	for _, c := range containers {
		for _, f := range c.Files {
			n += len(f.ContentBase64) + (len(f.Content)+2)/3*4 // the guest gets all contents as base64
		}
		c.Files = slices.Clone(c.Files)
		for i := range c.Files {
			c.Files[i].Content, c.Files[i].ContentBase64 = "", ""
		}
		n += jsonBytes(c)
	}
	return n
}

// TooLargeForGuest is the error about a pod whose guest would get too much. Codes: too_large.
func TooLargeForGuest(bytes, limit int) error {
	return Errorf(CodeTooLarge, "spec.containers", "arguments, environments and files have %d bytes, with those of the images, configs and secrets; the limit is %d", bytes, limit)
}

// CheckStart refuses a container that could never start. field is its place in the spec. Codes: invalid.
func CheckStart(c DesiredContainer, field string) error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return Errorf(CodeInvalid, field+".command", "neither the container nor its image has a command; set command")
	}
	if strings.ContainsFunc(c.User, unicode.IsControl) {
		return Errorf(CodeInvalid, field+".user", "the user %q of the container or its image has a control character", c.User)
	}
	if _, err := signals.Parse(c.StopSignal); err != nil {
		return Errorf(CodeInvalid, field+".stopSignal", "the container or its image has an unknown stop signal; set stopSignal: %s", err)
	}
	return nil
}

// Check refuses the configuration of an image that no pod could use. Codes: image_unsupported.
func (c ImageConfig) Check() error {
	for _, list := range []struct {
		what  string
		items []string
	}{{"variables", c.Env}, {"elements in its entrypoint", c.Entrypoint}, {"elements in its command", c.Cmd}} {
		if len(list.items) > MaxImageStrings {
			return Errorf(CodeImageUnsupported, "reference", "the image's configuration has %d %s; the limit is %d", len(list.items), list.what, MaxImageStrings)
		}
	}
	if n := jsonBytes(c); n > MaxImageBytes {
		return Errorf(CodeImageUnsupported, "reference", "the image's configuration has %d bytes of variables, arguments and names; the limit is %d", n, MaxImageBytes)
	}
	return nil
}

// jsonBytes returns the length of a value as JSON without escapes for HTML, which is how the guest gets it.
func jsonBytes(v any) int {
	var n counter
	e := json.NewEncoder(&n)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return MaxGuestBytes + 1
	}
	return int(n)
}

// counter counts what is written to it.
type counter int

var _ io.Writer = (*counter)(nil)

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
