// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"unicode"

	"husk/limits"
	"husk/signals"
)

// Limits of a spec and of a guest's responses.
const (
	maxContainers = limits.Containers
	maxVolumes    = limits.Volumes
	maxName       = limits.Name
	maxSerial     = 20 // the limit of virtio-blk
	maxPath       = 4095
	maxFiles      = 256      // of a volume in memory
	maxSizeMiB    = 16 << 20 // of an empty directory, and of shared memory
	maxText       = 1024     // bytes of a message or reason
	maxBootID     = 64
	maxEntries    = 8192 // log entries per frame
	maxExitCode   = 255
	maxBackoff    = 24 * 60 * 60 * 1000 // milliseconds
	maxDeadline   = 366 * maxBackoff    // milliseconds
)

// Validate returns what is wrong with a spec. Both ends use it: the host for a better message, the
// guest for its own safety.
func (s *Spec) Validate() error {
	if err := s.validate(); err != nil {
		return fmt.Errorf("pod spec: %w", err)
	}
	return nil
}

func (s *Spec) validate() error {
	if s.PodID == "" || len(s.PodID) > maxName {
		return fmt.Errorf("podID %q: want 1 to %d bytes", s.PodID, maxName)
	}
	if err := checkHostname(s.Hostname); err != nil {
		return err
	}
	switch s.RestartPolicy {
	case RestartAlways, RestartOnFailure, RestartNever:
	default:
		return fmt.Errorf("restartPolicy %q: want %s, %s or %s", s.RestartPolicy, RestartAlways, RestartOnFailure, RestartNever)
	}
	for _, ms := range []int64{s.RestartBackoff.BaseMillis, s.RestartBackoff.MaxMillis, s.RestartBackoff.ResetAfterMillis} {
		if ms < 0 || ms > maxBackoff {
			return fmt.Errorf("restartBackoff of %d ms: want 0 to %d", ms, maxBackoff)
		}
	}
	if s.Network != nil {
		if err := s.Network.validate(); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	if err := s.checkHost(); err != nil {
		return err
	}
	if len(s.Volumes) > maxVolumes {
		return fmt.Errorf("%d volumes: the limit is %d", len(s.Volumes), maxVolumes)
	}
	if s.ShmSizeMiB < 0 || s.ShmSizeMiB > maxSizeMiB {
		return fmt.Errorf("shmSizeMiB of %d: want 0 to %d", s.ShmSizeMiB, maxSizeMiB)
	}
	if s.ScratchSerial != "" {
		if err := checkSerial(s.ScratchSerial); err != nil {
			return fmt.Errorf("scratch disk: %w", err)
		}
	}
	volumes := map[string]string{} // their types
	for _, v := range s.Volumes {
		if err := checkName(v.Name); err != nil {
			return fmt.Errorf("volume: %w", err)
		}
		if volumes[v.Name] != "" {
			return fmt.Errorf("volume %s: duplicate name", v.Name)
		}
		volumes[v.Name] = v.FSType
		if err := v.validate(); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	if len(s.Containers) == 0 || len(s.Containers) > maxContainers {
		return fmt.Errorf("%d containers: want 1 to %d", len(s.Containers), maxContainers)
	}
	names := map[string]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		if err := checkName(c.Name); err != nil {
			return fmt.Errorf("container: %w", err)
		}
		if names[c.Name] {
			return fmt.Errorf("container %s: duplicate name", c.Name)
		}
		names[c.Name] = true
		if err := c.validate(volumes); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
		if c.Init && i > 0 && !s.Containers[i-1].Init {
			return fmt.Errorf("container %s: init containers come first", c.Name)
		}
	}
	if s.Containers[len(s.Containers)-1].Init {
		return errors.New("only init containers")
	}
	for _, ms := range []int64{s.GraceMillis, s.DeadlineMillis} {
		if ms < 0 || ms > maxDeadline {
			return fmt.Errorf("period of %d ms: want 0 to %d", ms, int64(maxDeadline))
		}
	}
	return nil
}

func (v *Volume) validate() error {
	switch v.FSType {
	case Ext4Type, XFSType, BlockType:
		if len(v.Files) > 0 {
			return errors.New("a disk has no files")
		}
		return checkSerial(v.Serial)
	case FilesType:
		return checkFiles(v.Files)
	case EmptyType:
		if len(v.Files) > 0 || v.ReadOnly {
			return errors.New("an empty directory has no files and is writable")
		}
		if v.SizeMiB < 0 || v.SizeMiB > maxSizeMiB {
			return fmt.Errorf("size of %d MiB: want 0 to %d", v.SizeMiB, maxSizeMiB)
		}
		return nil
	default:
		return fmt.Errorf("fsType %q: want %s, %s, %s, %s or %s", v.FSType, Ext4Type, XFSType, BlockType, FilesType, EmptyType)
	}
}

// checkFiles checks the files of a volume in memory.
func checkFiles(files []File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%d files: the limit is %d", len(files), maxFiles)
	}
	for _, f := range files {
		if p := path.Clean(f.Path); p != f.Path || path.IsAbs(p) || p == "." || strings.HasPrefix(p, "..") || len(p) > maxPath || strings.ContainsRune(p, 0) {
			return fmt.Errorf("file %q: want a relative path", clip(f.Path, maxName))
		}
		if f.Mode&^0o7777 != 0 {
			return fmt.Errorf("file %s: mode %o: more than permission bits", f.Path, f.Mode)
		}
	}
	return nil
}

// Check refuses values that do not belong to the spec.
func (v *Values) Check(s *Spec) error {
	known := s.Values()
	for name, files := range v.Files {
		if _, ok := known.Files[name]; !ok {
			return fmt.Errorf("no volume %q with files", clip(name, maxName))
		}
		if err := checkFiles(files); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
	}
	for name, env := range v.Env {
		if _, ok := known.Env[name]; !ok {
			return fmt.Errorf("no container %q", clip(name, maxName))
		}
		if err := checkEnv(env); err != nil {
			return fmt.Errorf("container %s: %w", name, err)
		}
	}
	return nil
}

func checkEnv(env []string) error {
	for _, s := range env {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" || strings.ContainsRune(s, 0) {
			return fmt.Errorf("env %q: want NAME=value", clip(name, maxName)) // not the value, which may be a secret
		}
	}
	return nil
}

func (c Card) validate() error {
	if mac, err := net.ParseMAC(c.MAC); err != nil || len(mac) != 6 {
		return fmt.Errorf("mac %q: not an Ethernet address", c.MAC)
	}
	if !c.Address.IsValid() {
		return errors.New("address is missing")
	}
	if c.Gateway.IsValid() && c.Gateway.Is4() != c.Address.Addr().Is4() {
		return fmt.Errorf("gateway %s is of another family than %s", c.Gateway, c.Address)
	}
	if c.Address6.IsValid() && !c.Address6.Addr().Is6() || c.Gateway6.IsValid() && !c.Gateway6.Is6() {
		return fmt.Errorf("%s and %s are not IPv6 addresses", c.Address6, c.Gateway6)
	}
	if c.MTU < 0 || c.MTU > 65535 {
		return fmt.Errorf("mtu %d: want 0 to 65535", c.MTU)
	}
	return nil
}

func (n *Network) validate() error {
	for i, c := range n.Cards() {
		if err := c.validate(); err != nil {
			return fmt.Errorf("card %d: %w", i+1, err)
		}
	}
	for _, a := range n.Nameservers {
		if !a.IsValid() {
			return errors.New("nameserver is missing")
		}
	}
	for _, s := range append(slices.Clone(n.Search), n.Options...) {
		if s == "" || strings.ContainsFunc(s, unicode.IsSpace) {
			return fmt.Errorf("search domain or option %q: not a word", clip(s, maxName))
		}
	}
	return nil
}

// checkHost checks names and settings of the machine.
func (s *Spec) checkHost() error {
	for _, a := range s.HostAliases {
		if !a.IP.IsValid() {
			return errors.New("hostAliases: address is missing")
		}
		for _, name := range a.Hostnames {
			if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == '#' }) {
				return fmt.Errorf("hostAliases: %q: not a name", clip(name, maxName))
			}
		}
	}
	for _, c := range s.Sysctls {
		if p := c.File(); p != path.Clean(p) || !strings.HasPrefix(p, "/proc/sys/") || strings.ContainsRune(p, 0) {
			return fmt.Errorf("sysctl %q: not a name", clip(c.Name, maxName))
		}
	}
	return nil
}

// File returns the file of a sysctl.
func (c Sysctl) File() string { return "/proc/sys/" + strings.ReplaceAll(c.Name, ".", "/") }

func checkName(s string) error {
	if s == "" || len(s) > maxName || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || s[0] == '-' {
		return fmt.Errorf("name %q: want 1 to %d of a-z, 0-9, -", clip(s, maxName), maxName)
	}
	return nil
}

func checkHostname(s string) error {
	if s == "" || len(s) > maxName || s[0] == '-' || s[0] == '.' || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) {
		return fmt.Errorf("hostname %q: want 1 to %d of letters, digits, dashes and dots", clip(s, maxName), maxName)
	}
	return nil
}

func checkSerial(s string) error {
	if s == "" || len(s) > maxSerial || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '.' }) {
		return fmt.Errorf("serial %q: want 1 to %d printable characters, no slash or dot", clip(s, maxName), maxSerial)
	}
	return nil
}

func checkPath(s string) error {
	if !path.IsAbs(s) || len(s) > maxPath || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q: not an absolute path", clip(s, maxName))
	}
	return nil
}

// check validates the response of a hostile guest. It makes text harmless and refuses everything
// else that is invalid.
func (r *reply) check() error {
	if r.Error != nil {
		r.Error.Code, r.Error.Message = printable(r.Error.Code), printable(r.Error.Message)
	}
	if h := r.Hello; h != nil {
		if len(h.BootID) > maxBootID || h.InitUpMillis < 0 || h.UptimeMillis < 0 {
			return errors.New("hello out of bounds")
		}
		h.BootID = printable(h.BootID)
	}
	if r.Status != nil {
		if err := r.Status.check(); err != nil {
			return fmt.Errorf("status: %w", err)
		}
	}
	if r.Stats != nil {
		if err := r.Stats.check(); err != nil {
			return fmt.Errorf("stats: %w", err)
		}
	}
	if len(r.Entries) > maxEntries {
		return fmt.Errorf("%d log entries: the limit is %d", len(r.Entries), maxEntries)
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Stream != Stdout && e.Stream != Stderr {
			return errors.New("log entry of an unknown stream")
		}
		if n := len(e.Line) + len(e.Bytes); n > MaxLogPiece {
			return fmt.Errorf("log entry of %d bytes: the limit is %d", n, MaxLogPiece)
		}
	}
	return nil
}

func (s *Status) check() error {
	switch s.Phase {
	case PhaseWaiting, PhaseRunning, PhaseSucceeded, PhaseFailed, PhaseStopping:
	default:
		return errors.New("unknown phase")
	}
	if len(s.BootID) > maxBootID {
		return errors.New("boot id is too long")
	}
	if len(s.Containers) > maxContainers {
		return fmt.Errorf("%d containers: the limit is %d", len(s.Containers), maxContainers)
	}
	s.BootID, s.Error, s.Reason = printable(s.BootID), printable(s.Error), clip(printable(s.Reason), limits.Reason)
	seen := map[string]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		if err := checkName(c.Name); err != nil {
			return err
		}
		if seen[c.Name] {
			return fmt.Errorf("container %s: duplicate name", c.Name)
		}
		seen[c.Name] = true
		switch c.State {
		case StateWaiting, StateRunning, StateExited:
		default:
			return fmt.Errorf("container %s: unknown state", c.Name)
		}
		if !exitCode(c.ExitCode) || c.LastExitCode != nil && !exitCode(*c.LastExitCode) ||
			c.Signal < 0 || c.Signal > signals.Max || c.Restarts < 0 || c.Restarts > limits.Restarts {
			return fmt.Errorf("container %s: numbers out of bounds", c.Name)
		}
		c.Reason, c.LastReason, c.Message = clip(printable(c.Reason), limits.Reason), clip(printable(c.LastReason), limits.Reason), Message(c.Message)
	}
	return nil
}

func exitCode(n int) bool { return n >= 0 && n <= maxExitCode }

// printable limits a guest's text and removes control characters, which a terminal would execute.
func printable(s string) string { return harmless(clip(s, maxText), "") }

// Message limits the message of a container, which may have more than one line, and makes it
// harmless. The guest uses it too, so that a status always fits into a frame.
func Message(s string) string { return harmless(clip(s, limits.Message), "\n\t") }

func harmless(s, but string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || strings.ContainsRune(but, r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, " "))
}

// clip cuts s to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// Canonical returns the spec's only encoding, by which two specs are compared.
func (s *Spec) Canonical() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // as in a frame: an escape makes six bytes of one
	err := e.Encode(s)
	return b.Bytes(), err
}
