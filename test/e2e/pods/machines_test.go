// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"husk/test/stack"
)

// A QEMU that an attacker controls runs as a user of its own. It cannot signal, trace or read the
// process of another machine, nor open the agent's files about it.
func TestAMachineHasNoAccessToAnother(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	pods := tn.Running(t, tn.Create(t, "attacker", stack.Idle(image)), tn.Create(t, "victim", stack.Idle(image)))
	attacker, victim := processOf(t, pods[0].ID), processOf(t, pods[1].ID)
	if attacker.user == victim.user || attacker.group == victim.group {
		t.Fatalf("two machines run as the same user or group: %+v and %+v", attacker, victim)
	}
	for _, p := range []process{attacker, victim} {
		if p.status["CapEff"] != "0000000000000000" || p.status["Seccomp"] != "2" || p.status["NoNewPrivs"] != "1" {
			t.Errorf("QEMU has capabilities %s, seccomp mode %s and no_new_privs %s; want none, 2 and 1",
				p.status["CapEff"], p.status["Seccomp"], p.status["NoNewPrivs"])
		}
	}
	if !strings.Contains(attacker.cmdline, "mem-merge=off") {
		t.Errorf("the memory of machines may be merged: %s", attacker.cmdline)
	}
	// Each attempt has to succeed against the attacker's own process, so that a typing error fails.
	for _, attempt := range []struct{ what, script string }{
		{"signal the process", "kill -0 {pid}"},
		{"read the environment", "cat /proc/{pid}/environ"},
		{"list open files", "ls /proc/{pid}/fd/"},
		{"read the scratch disk", "head -c 1 {scratch}"},
		{"reach its memory", "exec 3<>/proc/{pid}/mem"},
	} {
		if out, err := attacker.try(attempt.script, attacker); err != nil {
			t.Errorf("%s of the own machine: %v: %s", attempt.what, err, out)
		}
		if _, err := attacker.try(attempt.script, victim); err == nil {
			t.Errorf("a machine's user can %s of another machine", attempt.what)
		}
	}
	if _, err := os.Stat(victim.socket); err != nil {
		t.Error(err)
	}
	if _, err := attacker.try("test -w {socket}", victim); err == nil { // QEMU gets its own open, and needs no access either
		t.Error("a machine's user can write to the channel of another machine")
	}
	for _, dir := range []string{"agent/consoles", "agent/pods", "agent/scratch", "ceph", "postgres", "secrets"} {
		dir = filepath.Join(stack.Get(t).Dir, "s", dir)
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
		if out, err := attacker.try("ls "+dir, attacker); err == nil {
			t.Errorf("a machine's user can list %s: %s", dir, out)
		}
	}
}

// process is a running QEMU.
type process struct {
	pid, user, group int
	cmdline, socket  string
	scratch          string
	status           map[string]string // /proc/PID/status
}

func processOf(t *testing.T, pod uuid.UUID) process {
	t.Helper()
	p := process{pid: stack.QEMU(pod), status: map[string]string{}}
	if p.pid == 0 {
		t.Fatalf("pod %s has no QEMU", pod)
	}
	dir := fmt.Sprintf("/proc/%d/", p.pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		p.status[key] = strings.TrimSpace(value)
	}
	p.user, p.group = firstID(t, p.status["Uid"]), firstID(t, p.status["Gid"])
	cmdline, err := os.ReadFile(dir + "cmdline")
	if err != nil {
		t.Fatal(err)
	}
	p.cmdline = strings.ReplaceAll(string(cmdline), "\x00", " ")
	domain := stack.Get(t).Virsh("dumpxml", pod.String())
	socket := regexp.MustCompile(`<source mode='bind' path='([^']+)'`).FindStringSubmatch(domain)
	if socket == nil {
		t.Fatalf("no channel in %s", domain)
	}
	p.socket, p.scratch = socket[1], filepath.Join(stack.Get(t).Dir, "s", "agent", "scratch", pod.String()+".ext4")
	return p
}

func firstID(t *testing.T, ids string) int {
	t.Helper()
	id, err := strconv.Atoi(strings.Fields(ids + " ?")[0])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// try runs a script about another process as this process's user.
func (p process) try(script string, about process) (string, error) {
	script = strings.NewReplacer("{pid}", strconv.Itoa(about.pid), "{socket}", about.socket, "{scratch}", about.scratch).Replace(script)
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.user), Gid: uint32(p.group)}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
