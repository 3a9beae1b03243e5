// SPDX-License-Identifier: Apache-2.0

//go:build install

package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/dev"
	"husk/test/docs"
	"husk/test/stack"
)

// machine is a fresh Debian, which its own systemd boots.
type machine struct {
	t    *testing.T
	name string
	root string
	addr netip.Addr
	host *dev.Host
}

// tunnelBridge and tunnelInterface are where the userspace datapath sends and receives the packets of tunnels.
const tunnelBridge, providerBridge = "br-phys", "br-ex"

// boot switches a machine on: a host of the test bed, whose network, processes and mounts the container shares.
func boot(t *testing.T, bed *dev.Stack, work, name string, cfg dev.HostConfig) *machine {
	t.Helper()
	m := &machine{t: t, name: name, root: filepath.Join(work, "machines", name, "root"), addr: cfg.Addr}
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(work, "machines", name, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(work, "machines", name)
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", filepath.Join(work, "root"), at, at)
	if err := syscall.Mount("overlay", m.root, "overlay", 0, layers); err != nil {
		t.Fatalf("mount %s: %v", layers, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(m.root, syscall.MNT_DETACH) })
	m.write("/etc/hostname", name+"\n", 0o644)
	m.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 "+name+"\n", 0o644)
	// The test bed has configured the network, and networkd would wait for two minutes.
	if err := os.Symlink("/dev/null", filepath.Join(m.root, "/etc/systemd/system/systemd-networkd-wait-online.service")); err != nil {
		t.Fatal(err)
	}
	// The kernel of the test bed may have no module for Open vSwitch, whose scripts insist on it.
	m.write("/usr/local/sbin/modprobe", "#!/bin/sh\nexit 0\n", 0o755)

	cfg.Name = name
	cfg.Boot = func(ctx context.Context, h *dev.Host) error {
		m.host = h
		if cfg.Kind == dev.NodeHost {
			_, err := h.ConnectProvider()
			if err = errors.Join(err, h.ConnectTunnels()); err != nil {
				return err
			}
		}
		return h.Run(ctx, dev.Program{
			Name: "systemd", Path: "/usr/bin/systemd-nspawn", Grace: 20 * time.Second, Timeout: time.Minute,
			Args: []string{
				"--quiet", "--directory", m.root, "--boot", "--register=no", "--keep-unit", "--machine=" + name, "--capability=all", "--kill-signal=SIGRTMIN+4",
				"--bind=/dev/net/tun", "--resolv-conf=off", "systemd.unit=multi-user.target", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", // cgroups version 1
			},
			Env: []string{"SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes"}, // agents change sysctls
			Ready: func(context.Context) error {
				out, err := m.try("systemctl is-system-running")
				if state := strings.TrimSpace(out); state == "running" || state == "degraded" {
					return nil
				}
				return errors.Join(err, fmt.Errorf("the system is %q", out))
			},
		})
	}
	if _, err := bed.AddHost(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	// systemd-nspawn mounts them for reading only; libvirt makes groups.
	m.types(`awk '$2 ~ "^/sys/fs/cgroup/" {print $2}' /proc/self/mounts | xargs -r -n 1 mount -o remount,bind,rw`)
	return m
}

// leader is the process ID of the machine's systemd, as this process sees it.
func (m *machine) leader() (int, error) {
	parents, err := exec.Command("pgrep", "-x", "-f", "/usr/bin/systemd-nspawn .*--machine="+m.name+" .*").Output()
	if err != nil || len(bytes.Fields(parents)) == 0 {
		return 0, fmt.Errorf("systemd-nspawn of %s does not run (%w)", m.name, err)
	}
	leader, err := exec.Command("pgrep", "-P", string(bytes.Fields(parents)[0])).Output()
	if err != nil || len(bytes.Fields(leader)) == 0 {
		return 0, fmt.Errorf("systemd of %s does not run (%w)", m.name, err)
	}
	return strconv.Atoi(string(bytes.Fields(leader)[0]))
}

// try runs a script in the machine, as root would type it.
func (m *machine) try(script string) (string, error) {
	leader, err := m.leader()
	if err != nil {
		return "", err
	}
	// nsenter opens the directories before it enters.
	root := fmt.Sprintf("/proc/%d/root", leader)
	cmd := exec.Command("nsenter", "--target", fmt.Sprint(leader), "--mount", "--uts", "--ipc", "--pid", "--net", "--root="+root, "--wd="+root+"/root/debs", "bash", "-euo", "pipefail", "-c", script) //nolint:gosec // the documentation's
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%s: %w:\n%s\n%s\nof\n%s", m.name, err, end(out.String()), end(errs.String()), script)
	}
	return out.String(), err
}

// end returns the end of what a command writes.
func end(text string) string { return text[max(0, len(text)-2000):] }

// types runs a script, which must succeed.
func (m *machine) types(script string) string {
	m.t.Helper()
	began := time.Now()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("%s, in %.1f s: %s", m.name, time.Since(began).Seconds(), strings.TrimSpace(script))
	return out
}

func (m *machine) write(file, text string, mode os.FileMode) {
	m.t.Helper()
	if err := errors.Join(os.WriteFile(filepath.Join(m.root, file), []byte(text), mode), os.Chmod(filepath.Join(m.root, file), mode)); err != nil {
		m.t.Fatal(err)
	}
}

// set gives settings values in a file of /etc/husk.
func (m *machine) set(file string, values map[string]string) {
	m.t.Helper()
	if err := docs.Set(filepath.Join(m.root, "/etc/husk", file), values); err != nil {
		m.t.Fatal(err)
	}
}

// active waits until a unit is active, and shows its log if it is not.
func (m *machine) active(unit string) {
	m.t.Helper()
	stack.Eventually(m.t, time.Minute, func() error {
		_, err := m.try("systemctl is-active " + unit + " || { journalctl --unit " + unit + " --no-pager --lines 30; exit 1; }")
		return err
	})
}

// journal returns the end of the log of all units, for a test that has failed.
func (m *machine) journal() string {
	out, err := m.try("systemctl list-units --failed --no-pager; journalctl --no-pager --lines 60 -u 'husk*' -u 'ov*' -u libvirtd -u 'virt*'")
	return fmt.Sprint(out, err)
}
