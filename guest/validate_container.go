// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"husk/limits"
	"husk/signals"
)

func (c *Container) validate(volumes map[string]string) error {
	if err := checkSerial(c.ImageSerial); err != nil {
		return err
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return errors.New("args: no command")
	}
	for _, s := range c.Args {
		if strings.ContainsRune(s, 0) {
			return errors.New("args: zero byte")
		}
	}
	if err := checkEnv(c.Env); err != nil {
		return err
	}
	if c.WorkingDir != "" {
		if err := checkPath(c.WorkingDir); err != nil {
			return fmt.Errorf("workingDir: %w", err)
		}
	}
	if len(c.User) > maxText || strings.ContainsFunc(c.User, unicode.IsControl) {
		return errors.New("user: not a name")
	}
	if _, err := signals.Parse(c.StopSignal); err != nil {
		return err
	}
	if c.StdinOnce && !c.Stdin {
		return errors.New("stdinOnce: requires stdin")
	}
	mounts := map[string]bool{}
	for _, m := range c.Mounts {
		switch volumes[m.Volume] {
		case "":
			return fmt.Errorf("mount %s: no volume %q", m.Path, m.Volume)
		case BlockType:
			return fmt.Errorf("mount %s: volume %s has no file system", m.Path, m.Volume)
		}
		if err := checkPath(m.Path); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		p := path.Clean(m.Path)
		if p == "/" {
			return errors.New("mount: a volume cannot be the root")
		}
		if mounts[p] {
			return fmt.Errorf("mount %s: duplicate path", p)
		}
		mounts[p] = true
		if len(m.SubPath) > maxPath || strings.ContainsRune(m.SubPath, 0) {
			return fmt.Errorf("mount %s: subPath: not a path", p)
		}
	}
	for _, d := range c.VolumeDevices {
		if volumes[d.Volume] != BlockType {
			return fmt.Errorf("device %s: no volume %q without a file system", d.DevicePath, d.Volume)
		}
		if err := checkPath(d.DevicePath); err != nil {
			return fmt.Errorf("device: %w", err)
		}
		p := path.Clean(d.DevicePath)
		if p == "/" {
			return errors.New("device: a volume cannot be the root")
		}
		if mounts[p] {
			return fmt.Errorf("device %s: duplicate path", p)
		}
		mounts[p] = true
	}
	for _, f := range c.Files {
		if err := checkPath(f.Path); err != nil {
			return fmt.Errorf("file: %w", err)
		}
		p := path.Clean(f.Path)
		if p == "/" || strings.HasSuffix(f.Path, "/") {
			return fmt.Errorf("file %s: is a directory", f.Path)
		}
		if f.Mode&^0o7777 != 0 {
			return fmt.Errorf("file %s: mode %o: more than permission bits", f.Path, f.Mode)
		}
		if mounts[p] {
			return fmt.Errorf("file %s: a volume is mounted there", f.Path)
		}
	}
	return c.Options.validate()
}

func (o *Options) validate() error {
	if len(o.Groups) > limits.Groups+1 || // with the group of the volumes
		slices.ContainsFunc(o.Groups, func(g string) bool {
			return g == "" || len(g) > maxName || strings.ContainsFunc(g, unicode.IsControl)
		}) {
		return errors.New("groups: not names")
	}
	for _, name := range slices.Concat(o.CapabilitiesAdd, o.CapabilitiesDrop) {
		if _, err := ParseCapability(name); err != nil {
			return err
		}
	}
	switch o.RestartPolicy {
	case "", RestartAlways, RestartOnFailure, RestartNever:
	default:
		return fmt.Errorf("restartPolicy %q: want %s, %s or %s", o.RestartPolicy, RestartAlways, RestartOnFailure, RestartNever)
	}
	if o.MaxRestarts < 0 || o.MaxRestarts > limits.Restarts {
		return fmt.Errorf("maxRestarts %d: want 0 to %d", o.MaxRestarts, limits.Restarts)
	}
	if o.TerminationMessagePath != "" {
		if err := checkPath(o.TerminationMessagePath); err != nil {
			return fmt.Errorf("terminationMessagePath: %w", err)
		}
		if path.Clean(o.TerminationMessagePath) == "/" {
			return errors.New("terminationMessagePath: is a directory")
		}
	}
	if o.Limits.CPUMillis < 0 || o.Limits.CPUMillis > limits.CPUMillis || o.Limits.MemoryMiB < 0 || o.Limits.MemoryMiB > limits.MemoryMiB {
		return errors.New("limits: out of bounds")
	}
	if err := checkUlimits(o.Ulimits); err != nil {
		return err
	}
	for name, p := range map[string]*Probe{"startupProbe": o.StartupProbe, "readinessProbe": o.ReadinessProbe, "livenessProbe": o.LivenessProbe} {
		if p != nil {
			if err := p.validate(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for name, h := range map[string]*Hook{"postStart": o.PostStart, "preStop": o.PreStop} {
		if h != nil {
			if err := h.validate(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (p *Probe) validate() error {
	for _, n := range []int{p.InitialDelaySeconds, p.PeriodSeconds, p.TimeoutSeconds, p.SuccessThreshold, p.FailureThreshold, p.GracePeriodSeconds} {
		if n < 0 || n > limits.ProbeNumber {
			return fmt.Errorf("%d: want 0 to %d", n, limits.ProbeNumber)
		}
	}
	return p.Action.validate()
}

func (a *Action) validate() error {
	kinds := 0
	for _, set := range []bool{len(a.Exec) > 0, a.HTTPGet != nil, a.TCPPort != 0, a.GRPC != nil, a.SleepSeconds != 0} {
		if set {
			kinds++
		}
	}
	if kinds > 1 { // none is a sleep of 0 seconds
		return errors.New("more than one action")
	}
	for _, s := range a.Exec {
		if strings.ContainsRune(s, 0) {
			return errors.New("exec: zero byte")
		}
	}
	if a.SleepSeconds < 0 || a.SleepSeconds > limits.ProbeNumber {
		return fmt.Errorf("sleepSeconds %d: want 0 to %d", a.SleepSeconds, limits.ProbeNumber)
	}
	port := cmp.Or(a.TCPPort, 1)
	if h := a.HTTPGet; h != nil {
		if port = h.Port; h.Scheme != "" && h.Scheme != "http" && h.Scheme != "https" {
			return fmt.Errorf("scheme %q: want http or https", clip(h.Scheme, maxName))
		}
	}
	if a.GRPC != nil {
		port = a.GRPC.Port
	}
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d: want 1 to 65535", port)
	}
	return nil
}
