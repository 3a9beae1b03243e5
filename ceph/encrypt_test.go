// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"husk/dev"
	"husk/dev/devtest"
	"husk/luks"
)

// decrypt returns a file with the content of an encrypted volume, which QEMU reads from Ceph.
func decrypt(t *testing.T, vol, passphrase string) (file, output string, err error) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "plain")
	if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte(passphrase), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "--object", "secret,id=key,file="+filepath.Join(dir, "passphrase"),
		"--image-opts", "driver=luks,key-secret=key,file.driver=rbd,file.pool="+dev.VolumesPool+",file.image="+vol+",file.user="+dev.CephUser+
			",file.conf="+devtest.Ceph(t).CephConf(), "-O", "raw", file).CombinedOutput()
	return file, string(out), err
}

func TestAnEncryptedVolumeHasACleanFileSystemThatOnlyItsPassphraseOpens(t *testing.T) {
	t.Parallel()
	c := connect(t)
	for fsType, check := range map[string][]string{"ext4": {"/sbin/e2fsck", "-fn"}, "xfs": {"/sbin/xfs_repair", "-nf"}} {
		vol, passphrase := name(t, fsType), luks.NewPassphrase()
		const size = 1 << 30
		disk, err := c.CreateEncryptedVolume(t.Context(), vol, size, fsType, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		if disk.SizeBytes != size+luks.HeaderBytes {
			t.Errorf("%s: the RBD image has %d bytes", fsType, disk.SizeBytes)
		}
		file, out, err := decrypt(t, vol, passphrase)
		if err != nil {
			t.Fatalf("%s: %v: %s", fsType, err, out)
		}
		if info, err := os.Stat(file); err != nil || info.Size() != size {
			t.Errorf("%s: the content is %+v: %v", fsType, info, err)
		}
		run(t, check[0], append(check[1:], file)...)
		raw, err := os.ReadFile(export(t, dev.VolumesPool, vol))
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{"XFSB", "lost+found"} {
			if bytes.Contains(raw, []byte(plain)) {
				t.Errorf("%s: the RBD image contains %q", fsType, plain)
			}
		}
		if _, out, err := decrypt(t, vol, luks.NewPassphrase()); err == nil || !strings.Contains(out, "Invalid password") {
			t.Errorf("%s: with another passphrase: %v: %s", fsType, err, out)
		}
		if err := c.RemoveDisk(t.Context(), disk); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.CreateEncryptedVolume(t.Context(), name(t, "none"), 64<<20, "ext4", ""); err == nil {
		t.Error("a volume is encrypted without a passphrase")
	}
}

func TestCreatingAnEncryptedVolumeCanBeInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	c := connect(t)
	passphrase := luks.NewPassphrase()
	interruptEverywhere(t, c, func() error {
		if _, err := c.CreateEncryptedVolume(t.Context(), name(t, "vol"), 64<<20, "ext4", passphrase); err != nil {
			return err
		}
		file, out, err := decrypt(t, name(t, "vol"), passphrase)
		if err != nil {
			return errors.Join(err, errors.New(out))
		}
		run(t, "/sbin/e2fsck", "-fn", file)
		return nil
	}, func() error { return c.RemoveDisk(t.Context(), Disk{Name: name(t, "vol")}) })
}
