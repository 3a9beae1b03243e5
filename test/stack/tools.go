// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/dev"
	"husk/dev/control"
	"husk/test/pace"
)

// Virsh runs libvirt's command virsh and returns its output. On a fleet, it runs on every node that is on.
func (s *Stack) Virsh(args ...string) string {
	uris, err := s.libvirts()
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(30*time.Second)) // a libvirtd that hangs does not respond
	defer cancel()
	var all []string
	for _, uri := range uris {
		out, err := exec.CommandContext(ctx, "virsh", append([]string{"-c", uri}, args...)...).CombinedOutput()
		if err != nil {
			return "virsh: " + err.Error() + ": " + string(out)
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// libvirts returns the URIs of the nodes' libvirts.
func (s *Stack) libvirts() ([]string, error) {
	hosts, err := control.NewClient(s.stateDir()).Hosts(context.Background())
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return []string{"qemu:///system"}, nil
	}
	var uris []string
	for _, h := range hosts {
		if h.Kind == dev.NodeHost && h.State != dev.HostOff {
			uris = append(uris, h.Libvirt)
		}
	}
	return uris, nil
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
	all, err := exec.CommandContext(t.Context(), "ceph", "-c", s.Env["HUSK_CEPH_CONF"], "auth", "ls", "-f", "json").Output()
	var users struct {
		Dump []struct{ Entity, Key string } `json:"auth_dump"`
	}
	if err = errors.Join(err, json.Unmarshal(all, &users)); err != nil {
		t.Fatalf("key of pod %s: %v", pod, err)
	}
	for _, u := range users.Dump {
		if strings.HasPrefix(u.Entity, "client.husk-pod."+pod.String()) { // with the number of its placement
			return u.Key
		}
	}
	t.Fatalf("pod %s has no key", pod)
	return ""
}

// QEMULog returns the logs of libvirt and QEMU about a pod's machine, for error messages.
func (s *Stack) QEMULog(pod uuid.UUID) string {
	name := "husk-" + pod.String() + ".log"
	ofHosts, _ := filepath.Glob(filepath.Join(s.stateDir(), "hosts/*/log/qemu", name)) // the only error is about the pattern
	var all strings.Builder
	for _, path := range append(ofHosts, filepath.Join("/var/log/libvirt/qemu", name)) {
		if raw, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&all, "%s:\n%s\n", path, raw[max(0, len(raw)-2000):])
		}
	}
	return all.String()
}

// agentLogs returns the ends of the agents' logs, for error messages.
func (s *Stack) agentLogs() error {
	var all error
	logs, _ := filepath.Glob(filepath.Join(s.stateDir(), "log/*agent.log")) // as above
	for _, log := range logs {
		all = errors.Join(all, s.LogEnd(filepath.Join("s/log", filepath.Base(log))))
	}
	return all
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

// SQL runs a statement in the database as its administrator, and returns the rows.
func (s *Stack) SQL(statement string) (string, error) {
	return s.postgres("psql", "-d", "husk", "-Atc", statement)
}

// Postgres runs a program of Postgres as the administrator of the databases.
func (s *Stack) Postgres(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := s.postgres(program, args...); err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
}

func (s *Stack) postgres(program string, args ...string) (string, error) {
	password, err := os.ReadFile(filepath.Join(s.stateDir(), "secrets/postgres-superuser"))
	if err != nil {
		return "", err
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT=15432", "PGUSER=postgres", "PGPASSWORD="+strings.TrimSpace(string(password)))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
