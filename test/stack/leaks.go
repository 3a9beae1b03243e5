// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"husk/dev"
	"husk/dev/control"
	"husk/test/pace"
)

// stop stops huskd dev with the signal that users send. It checks that the tests left nothing in
// libvirt and Ceph, and that huskd left nothing on the machine.
func (s *Stack) stop() error {
	left := errors.Join(s.broken...)
	if domains := s.Virsh("list", "--all", "--name"); domains != "" {
		left = errors.Join(left, fmt.Errorf("the tests have not deleted these domains: %s", domains))
	}
	// An image in Ceph can be held for half a minute by a client that has ended. The removal is retried after twice as long each time, so that it can take a minute.
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(2*time.Minute))
	defer cancel()
	for _, check := range []func() error{s.poolsAreEmpty, s.tablesAreEmpty, s.nodesAreEmpty, s.noScratchDisks} {
		left = errors.Join(left, Until(ctx, check))
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(left, err)
	}
	if err := s.cmd.Wait(); err != nil {
		return errors.Join(left, fmt.Errorf("huskd dev: %w", err), s.LogEnd("dev.log"))
	}
	for _, what := range []struct{ name, command string }{
		{"processes", "ps -eo comm= | grep -E 'huskd|postgres|ceph|libvirtd|virtlogd|qemu|docker-registry|patroni|etcd|ovs|ovn|ld-linux' || true"},
		{"interfaces", "ip -br link | grep -E '^(hk|br-|ovs-)' || true"},
		{"nftables", "nft list tables | grep husk || true"},
		{"cgroups", "ls -d /sys/fs/cgroup/husk-dev-" + dev.ID(s.stateDir()) + " /sys/fs/cgroup/*/husk-dev-" + dev.ID(s.stateDir()) + " 2>/dev/null || true"},
	} {
		out, err := exec.Command("sh", "-c", what.command).CombinedOutput()
		if text := strings.TrimSpace(string(out)); err != nil || text != "" {
			left = errors.Join(left, err, fmt.Errorf("huskd dev has not removed these %s: %s", what.name, text))
		}
	}
	return errors.Join(left, os.RemoveAll(s.Dir))
}

// poolsAreEmpty returns an error while an image, clone, volume or key of the tests is in Ceph. The
// server deletes them in the background.
func (s *Stack) poolsAreEmpty() error {
	conf := s.Env["HUSK_CEPH_CONF"]
	for _, what := range []struct{ name, command string }{
		{"images", "rbd -c " + conf + " ls husk-images"},
		{"disks", "rbd -c " + conf + " ls husk-volumes"},
		{"removed images", "rbd -c " + conf + " trash ls husk-images; rbd -c " + conf + " trash ls husk-volumes"},
		{"keys", "ceph -c " + conf + " auth ls 2>/dev/null | grep '^client.husk-pod' || true"},
	} {
		out, err := exec.Command("sh", "-c", what.command).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", what.command, err)
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			return fmt.Errorf("tests left %s in ceph: %s", what.name, text)
		}
	}
	return nil
}

// tablesAreEmpty returns an error while Postgres has rows about objects of the tests. All tenants are deleted by now.
func (s *Stack) tablesAreEmpty() error {
	for _, table := range []string{"pods", "volumes", "snapshots", "volume_claims", "image_uses", "configs", "config_uses", "placements"} {
		out, err := s.SQL("SELECT count(*) FROM " + table)
		if text := strings.TrimSpace(out); err != nil || text != "0" {
			return errors.Join(err, fmt.Errorf("tests left rows in table %s: %s", table, text))
		}
	}
	return nil
}

// nodesAreEmpty returns an error while a node of a fleet has interfaces of pods, or is fenced in Ceph.
func (s *Stack) nodesAreEmpty() error {
	hosts, err := control.NewClient(s.stateDir()).Hosts(context.Background())
	if err != nil {
		return err
	}
	fenced, err := exec.Command("ceph", "-c", s.Env["HUSK_CEPH_CONF"], "osd", "blocklist", "ls").Output()
	if err != nil {
		return fmt.Errorf("list the fenced clients: %w", err)
	}
	for _, h := range hosts {
		if strings.Contains(string(fenced), h.Address+":0/0 ") {
			return fmt.Errorf("tests left clients of host %s fenced: %s", h.Name, fenced)
		}
		if h.Kind != dev.NodeHost || h.State == dev.HostOff {
			continue
		}
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(h.PID), "-n", "ip", "-br", "link").Output()
		if err != nil || strings.Contains(string(out), "\nhk") {
			return errors.Join(err, fmt.Errorf("tests left interfaces on node %s: %s", h.Name, out))
		}
	}
	return nil
}

// noScratchDisks returns an error while the agent has scratch disks of pods.
func (s *Stack) noScratchDisks() error {
	files, err := filepath.Glob(filepath.Join(s.stateDir(), "agent/scratch/*"))
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("the agent has not removed these scratch disks: %s", strings.Join(files, ", "))
	}
	return err
}
