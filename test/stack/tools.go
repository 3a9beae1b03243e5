// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// Virsh runs libvirt's command virsh and returns its output.
func (s *Stack) Virsh(args ...string) string {
	out, err := exec.Command("virsh", append([]string{"-c", "qemu:///system"}, args...)...).CombinedOutput()
	if err != nil {
		return "virsh: " + err.Error() + ": " + string(out)
	}
	return strings.TrimSpace(string(out))
}

// RBD runs Ceph's command rbd as administrator and returns its output.
func (s *Stack) RBD(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rbd", append([]string{"-c", s.Env["HUSK_CEPH_CONF"]}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rbd %v: %v: %s", args, err, out)
	}
	return string(out)
}

// CephKey returns the key that a pod's machine uses for its disks in Ceph.
func (s *Stack) CephKey(t testing.TB, pod uuid.UUID) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ceph", "-c", s.Env["HUSK_CEPH_CONF"], "auth", "print-key", "client.husk-pod."+pod.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("key of pod %s: %v: %s", pod, err, out)
	}
	return string(out)
}

// QEMULog returns the log of libvirt and QEMU about a pod's machine, for error messages.
func QEMULog(pod uuid.UUID) string {
	raw, err := os.ReadFile("/var/log/libvirt/qemu/husk-" + pod.String() + ".log")
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}

// QEMU returns the process ID of a pod's machine, or 0 if it does not run.
func QEMU(pod uuid.UUID) int {
	raw, err := os.ReadFile("/run/libvirt/qemu/husk-" + pod.String() + ".pid")
	if err != nil {
		return 0
	}
	var pid int
	if _, err := fmt.Sscan(string(raw), &pid); err != nil {
		return 0
	}
	return pid
}
