// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/guest"
)

// config is the fragment of a configuration from which kernel/build makes Husk's kernel.
//
//go:embed config
var config []byte

// Kernel is a kernel that pods' machines can boot.
type Kernel struct {
	Name     string `json:"name"`     // the release, as uname -r prints it
	ShareMiB int    `json:"shareMiB"` // what a machine needs for this kernel and husk-init, in addition to the pod's memory

	Image   string `json:"-"` // the path of a bzImage
	Modules string `json:"-"` // the path of a directory like /lib/modules/NAME
}

// huskShareMiB is what guest.ShareMiB is for Debian's kernel. TestContainersCanUseWhatTheirPodAsksFor checks it.
const huskShareMiB = 40

// Find returns the kernel that pods are to boot. Which is "husk" for Husk's own, "debian" for the newest cloud kernel of Debian that is
// installed, or "auto" for Husk's own if make kernel has built it, otherwise Debian's.
func Find(which string) (Kernel, error) {
	switch which {
	case "husk":
		return findHusk()
	case "debian":
		return findDebian()
	case "auto":
		k, err := findHusk()
		if errors.Is(err, errNotBuilt) {
			return findDebian()
		}
		return k, err
	}
	return Kernel{}, fmt.Errorf("%q is no kernel: use husk, debian or auto", which)
}

var errNotBuilt = errors.New("husk's kernel is not built: run make kernel")

// findHusk looks into the folder in which kernel/build keeps what it has built. Of several kernels with the present configuration, it
// returns the one that was built or asked for last.
func findHusk() (Kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Kernel{}, fmt.Errorf("where husk's kernel is kept: %w", err)
	}
	sum := sha256.Sum256(config)
	built, err := filepath.Glob(filepath.Join(cache, "husk", "kernel", "*-"+hex.EncodeToString(sum[:8])+"-*", "lib", "modules", "*"))
	if err != nil {
		return Kernel{}, err
	}
	var newest fs.FileInfo
	var k Kernel
	for _, modules := range built {
		dir := filepath.Dir(filepath.Dir(filepath.Dir(modules)))
		info, err := os.Stat(dir)
		if err != nil {
			return Kernel{}, err
		}
		if newest == nil || info.ModTime().After(newest.ModTime()) {
			newest = info
			k = Kernel{filepath.Base(modules), huskShareMiB, filepath.Join(dir, "vmlinuz"), modules}
		}
	}
	if newest == nil {
		return Kernel{}, errNotBuilt
	}
	return k, nil
}

// findDebian looks for a cloud kernel that is installed with its modules.
func findDebian() (Kernel, error) {
	images, err := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if err != nil {
		return Kernel{}, err
	}
	slices.SortFunc(images, compareVersions)
	for _, image := range slices.Backward(images) {
		name := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		modules := filepath.Join("/lib/modules", name)
		if _, err := os.Stat(filepath.Join(modules, "modules.dep")); err == nil {
			return Kernel{name, guest.ShareMiB, image, modules}, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Kernel{}, err
		}
	}
	return Kernel{}, errors.New("no cloud kernel in /boot: install linux-image-cloud-amd64")
}

// descriptionOf is the file that describes the kernel in a file.
func descriptionOf(image string) string { return image + ".json" }

// Describe writes the kernel's description next to a copy of its image.
func (k Kernel) Describe(image string) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(descriptionOf(image), append(text, '\n'), 0o644) //nolint:gosec // no secret
}

// Read returns the kernel in a file by its description. Without a description, it is Debian's.
func Read(image string) (Kernel, error) {
	k := Kernel{Image: image, ShareMiB: guest.ShareMiB}
	text, err := os.ReadFile(descriptionOf(image)) //nolint:gosec // the operator sets the path
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	return k, cmp.Or(err, json.Unmarshal(text, &k))
}

// compareVersions compares two strings. It compares the numbers in them by value.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			x, y := leadingDigits(a), leadingDigits(b)
			a, b = a[len(x):], b[len(y):]
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
