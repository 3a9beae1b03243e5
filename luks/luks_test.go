// SPDX-License-Identifier: Apache-2.0

package luks_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"husk/luks"
)

// encrypted returns a file with the header of a disk and some encrypted content.
func encrypted(t *testing.T, passphrase string, content []byte) string {
	t.Helper()
	disk, header, err := luks.New(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, luks.HeaderBytes+len(content))
	copy(raw, header)
	for at := 0; at < len(content); at += 4096 { // in pieces, as it is written
		piece := raw[luks.HeaderBytes+at:][:4096]
		copy(piece, content[at:])
		disk.Encrypt(piece, int64(at))
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func secret(t *testing.T, passphrase string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(file, []byte(passphrase), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// QEMU is what opens the disks of pods.
func TestQEMUReadsWhatWasEncrypted(t *testing.T) {
	t.Parallel()
	passphrase := luks.NewPassphrase()
	content := bytes.Repeat([]byte("what a tenant stores "), 50_000)[:1<<20]
	file, out := encrypted(t, passphrase, content), filepath.Join(t.TempDir(), "plain")
	convert := func(passphrase string) ([]byte, error) {
		return exec.CommandContext(t.Context(), "qemu-img", "convert", "--object", "secret,id=key,file="+secret(t, passphrase),
			"--image-opts", "driver=luks,key-secret=key,file.filename="+file, "-O", "raw", out).CombinedOutput()
	}
	if text, err := convert(passphrase); err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, text)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("QEMU reads %d bytes that are not the %d that were encrypted", len(got), len(content))
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("tenant")) {
		t.Error("the disk contains plain text")
	}
	if text, err := convert(luks.NewPassphrase()); err == nil || !strings.Contains(string(text), "Invalid password") {
		t.Errorf("with another passphrase, QEMU says: %v\n%s", err, text)
	}
}

// An operator who has the key can open a disk without Husk.
func TestCryptsetupOpensADisk(t *testing.T) {
	t.Parallel()
	passphrase := luks.NewPassphrase()
	file := encrypted(t, passphrase, make([]byte, 1<<20))
	test := func(passphrase string) ([]byte, error) {
		return exec.CommandContext(t.Context(), "/sbin/cryptsetup", "open", "--test-passphrase", "--key-file", secret(t, passphrase), file).CombinedOutput()
	}
	if text, err := test(passphrase); err != nil {
		t.Errorf("cryptsetup: %v\n%s", err, text)
	}
	if text, err := test(luks.NewPassphrase()); err == nil {
		t.Errorf("cryptsetup opens the disk with another passphrase\n%s", text)
	}
}

func TestTwoDisksHaveDifferentKeys(t *testing.T) {
	t.Parallel()
	one, headerOne, err := luks.New("the same")
	if err != nil {
		t.Fatal(err)
	}
	other, headerOther, err := luks.New("the same")
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]byte, luks.SectorBytes), make([]byte, luks.SectorBytes)
	one.Encrypt(a, 0)
	other.Encrypt(b, 0)
	if bytes.Equal(a, b) || bytes.Equal(headerOne, headerOther) {
		t.Error("two disks with the same passphrase are encrypted with the same key")
	}
}
