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

	"husk/test/pace"
)

// stop stops huskd dev with the signal that users send. It checks that the tests left nothing in
// libvirt and Ceph, and that huskd left nothing on the machine.
func (s *Stack) stop() error {
	left := errors.Join(s.broken...)
	if domains := s.Virsh("list", "--all", "--name"); domains != "" {
		left = errors.Join(left, fmt.Errorf("the tests have not deleted these domains: %s", domains))
	}
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(time.Minute))
	defer cancel()
	left = errors.Join(left, Until(ctx, s.poolsAreEmpty), Until(ctx, s.noScratchDisks))
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(left, err)
	}
	if err := s.cmd.Wait(); err != nil {
		return errors.Join(left, fmt.Errorf("huskd dev: %w", err), s.LogEnd("dev.log"))
	}
	for _, what := range []struct{ name, command string }{
		{"processes", "ps -eo comm= | grep -E 'huskd|postgres|ceph|libvirtd|virtlogd|qemu|docker-registry' || true"},
		{"interfaces", "ip -br link | grep -E '^hk' || true"},
		{"nftables", "nft list tables | grep husk || true"},
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

// noScratchDisks returns an error while the agent has scratch disks of pods.
func (s *Stack) noScratchDisks() error {
	files, err := filepath.Glob(filepath.Join(s.Dir, "s", "agent", "scratch", "*"))
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("the agent has not removed these scratch disks: %s", strings.Join(files, ", "))
	}
	return err
}
