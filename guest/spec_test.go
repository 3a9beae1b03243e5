// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSpecsAreValidated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Spec)
		want   string // part of the error; "": valid
	}{
		{"minimal", func(*Spec) {}, ""},
		{"no containers", func(s *Spec) { s.Containers = nil }, "0 containers"},
		{"no command", func(s *Spec) { s.Containers[0].Args = nil }, "no command"},
		{"policy", func(s *Spec) { s.RestartPolicy = "always" }, `restartPolicy "always"`},
		{"hostname", func(s *Spec) { s.Hostname = "a b" }, "hostname"},
		{"name twice", func(s *Spec) { s.Containers = append(s.Containers, s.Containers[0]) }, "duplicate name"},
		{"path in name", func(s *Spec) { s.Containers[0].Name = "../x" }, "name"},
		{"path in serial", func(s *Spec) { s.Containers[0].ImageSerial = "../x" }, "serial"},
		{"long serial", func(s *Spec) { s.Containers[0].ImageSerial = strings.Repeat("x", 21) }, "serial"},
		{"env", func(s *Spec) { s.Containers[0].Env = []string{"=x"} }, "env"},
		{"restarts", func(s *Spec) { s.Containers[0].MaxRestarts = -1 }, "maxRestarts -1"},
		{"signal", func(s *Spec) { s.Containers[0].StopSignal = "SIGNOTHING" }, "signal"},
		{"stdinOnce without stdin", func(s *Spec) { s.Containers[0].StdinOnce = true }, "stdinOnce"},
		{"stdin", func(s *Spec) {
			s.Containers[0].Stdin, s.Containers[0].StdinOnce, s.Containers[0].TTY = true, true, true
		}, ""},
		{"unknown volume", func(s *Spec) { s.Containers[0].Mounts = []Mount{{Volume: "v", Path: "/v"}} }, "no volume"},
		{"volume as root", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: "ext4"}}
			s.Containers[0].Mounts = []Mount{{Volume: "v", Path: "/x/.."}}
		}, "cannot be the root"},
		{"file in a volume", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: "ext4"}}
			s.Containers[0].Mounts = []Mount{{Volume: "v", Path: "/v"}}
			s.Containers[0].Files = []File{{Path: "/v/sub/../x"}}
		}, ""},
		{"file and volume at the same path", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: "ext4"}}
			s.Containers[0].Mounts = []Mount{{Volume: "v", Path: "/v"}}
			s.Containers[0].Files = []File{{Path: "/v/sub/.."}}
		}, "a volume is mounted there"},
		{"device", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: BlockType}}
			s.Containers[0].VolumeDevices = []VolumeDevice{{Volume: "v", DevicePath: "/dev/xvda"}}
		}, ""},
		{"mounted device", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: BlockType}}
			s.Containers[0].Mounts = []Mount{{Volume: "v", Path: "/v"}}
		}, "volume v has no file system"},
		{"device of a file system", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: XFSType}}
			s.Containers[0].VolumeDevices = []VolumeDevice{{Volume: "v", DevicePath: "/dev/xvda"}}
		}, "no volume \"v\" without a file system"},
		{"device over the root", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: BlockType}}
			s.Containers[0].VolumeDevices = []VolumeDevice{{Volume: "v", DevicePath: "/dev/.."}}
		}, "cannot be the root"},
		{"two devices at a path", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: BlockType}}
			s.Containers[0].VolumeDevices = []VolumeDevice{{Volume: "v", DevicePath: "/dev/a"}, {Volume: "v", DevicePath: "/dev/b/../a"}}
		}, "duplicate path"},
		{"other file system", func(s *Spec) { s.Volumes = []Volume{{Name: "v", Serial: "v", FSType: "ntfs"}} }, "fsType"},
		{"empty directory", func(s *Spec) { s.Volumes = []Volume{{Name: "v", FSType: EmptyType, SizeMiB: 1}} }, ""},
		{"shared memory", func(s *Spec) { s.ShmSizeMiB = -1 }, "shmSizeMiB of -1"},
		{"negative size", func(s *Spec) { s.Volumes = []Volume{{Name: "v", FSType: EmptyType, SizeMiB: -1}} }, "size of -1 MiB"},
		{"files in an empty directory", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", FSType: EmptyType, Files: []File{{Path: "x"}}}}
		}, "no files"},
		{"relative file", func(s *Spec) { s.Containers[0].Files = []File{{Path: "etc/x"}} }, "not an absolute path"},
		{"set-user-ID file", func(s *Spec) { s.Containers[0].Files = []File{{Path: "/x", Mode: 0o104755}} }, "mode"},
		{"capability", func(s *Spec) { s.Containers[0].CapabilitiesAdd = []string{"CAP_CHOWN"} }, `capability "CAP_CHOWN"`},
		{"group", func(s *Spec) { s.Containers[0].Groups = []string{"a\x00"} }, "groups"},
		{"message in the root", func(s *Spec) { s.Containers[0].TerminationMessagePath = "/x/.." }, "terminationMessagePath"},
		{"limits", func(s *Spec) { s.Containers[0].Limits.MemoryMiB = -1 }, "limits"},
		{"two actions", func(s *Spec) {
			s.Containers[0].LivenessProbe = &Probe{Action: Action{TCPPort: 1, Exec: []string{"x"}}}
		}, "livenessProbe: more than one action"},
		{"port", func(s *Spec) { s.Containers[0].PreStop = &Hook{Action{TCPPort: 65536}} }, "preStop: port 65536"},
		{"scheme", func(s *Spec) { s.Containers[0].PostStart = &Hook{Action{HTTPGet: &HTTPGet{Port: 1, Scheme: "ftp"}}} }, `scheme "ftp"`},
		{"period", func(s *Spec) { s.Containers[0].ReadinessProbe = &Probe{PeriodSeconds: 1 << 40} }, "readinessProbe"},
		{"container policy", func(s *Spec) { s.Containers[0].RestartPolicy = "always" }, "restartPolicy"},
		{"only init containers", func(s *Spec) { s.Containers[0].Init = true }, "only init containers"},
		{"init container last", func(s *Spec) {
			s.Containers = append(s.Containers, s.Containers[0])
			s.Containers[1].Name, s.Containers[1].Init = "late", true
		}, "init containers come first"},
		{"deadline", func(s *Spec) { s.DeadlineMillis = -1 }, "period"},
		{"options", func(s *Spec) {
			s.GraceMillis, s.DeadlineMillis = 1000, 1000
			s.Containers[0].Options = Options{
				Groups: []string{"0"}, CapabilitiesDrop: []string{"ALL"}, CapabilitiesAdd: []string{"NET_ADMIN"}, RestartPolicy: RestartNever,
				StartupProbe: &Probe{Action: Action{GRPC: &GRPCPort{Port: 1}}}, PreStop: &Hook{Action{SleepSeconds: 5}},
				TerminationMessagePath: "/dev/termination-log", Limits: Limits{CPUMillis: 100, MemoryMiB: 16},
			}
		}, ""},
		{"mac", func(s *Spec) {
			s.Network = &Network{Card: Card{MAC: "x", Address: netip.MustParsePrefix("10.0.0.1/8")}}
		}, "mac"},
		{"no address", func(s *Spec) { s.Network = &Network{Card: Card{MAC: "52:54:00:00:00:01"}} }, "address"},
		{"second card", func(s *Spec) {
			s.Network = &Network{Card: Card{MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("10.0.0.1/8")}, More: []Card{{MAC: "52:54:00:00:00:02"}}}
		}, "card 2: address"},
		{"IPv6 address", func(s *Spec) {
			s.Network = &Network{Card: Card{MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("10.0.0.1/8"), Address6: netip.MustParsePrefix("10.0.0.2/8")}}
		}, "IPv6"},
		{"network", func(s *Spec) {
			s.Network = &Network{Card: Card{MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("fd00::2/64"), Gateway: netip.MustParseAddr("fd00::1")}}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := validSpec()
			tt.change(&s)
			err := s.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v; want an error with %q", err, tt.want)
			}
		})
	}
}

// The size of a spec is that of its frame, in which a "<" is one byte.
func TestTheSizeOfASpecIsThatOfItsFrame(t *testing.T) {
	t.Parallel()
	spec := Spec{Containers: []Container{{Env: []string{"A=" + strings.Repeat("<", 1000)}}}}
	raw, err := spec.Canonical()
	if err != nil || len(raw) > 1500 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}
