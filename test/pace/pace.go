// SPDX-License-Identifier: Apache-2.0

// Package pace adapts the time limits of tests to the speed of the machine. Limits are written for
// the reference machine. Limit multiplies them by a factor: how many times slower this machine is.
// The factor is measured once, by booting the pods' kernel in plain QEMU, because tests spend most
// of their time on such boots. test/run measures it for all packages and passes it on in
// HUSK_TEST_SLOWDOWN.
//
// A limit only ends a test that hangs. A test waits for a condition, and no assertion depends on the factor.
package pace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"husk/kernel"
)

// Variable holds the factor, a decimal number of at least 1.
const Variable = "HUSK_TEST_SLOWDOWN"

const (
	// referenceBoot is how long Measure's boot takes on the machine that the limits are written for: two cores, emulation.
	referenceBoot  = 2500 * time.Millisecond
	referenceCores = 2
	// sideBySide is how many times longer a test may take because the tests of three packages run
	// at the same time.
	sideBySide = 3
	// bootLimit is how long the measured boot may take. A machine that needs longer can run no pod.
	bootLimit = 5 * time.Minute
)

// Limit converts a time limit to this machine. Its argument is the limit for a test that runs alone
// on the reference machine.
func Limit(d time.Duration) time.Duration { return Slower(sideBySide * d) }

// Slower converts a duration on the reference machine to one on this machine.
func Slower(d time.Duration) time.Duration { return time.Duration(float64(d) * Slowdown()) }

// Slowdown is how many times slower this machine is than the reference machine, and at least 1.
var Slowdown = sync.OnceValue(func() float64 {
	factor, err := strconv.ParseFloat(os.Getenv(Variable), 64)
	if err == nil && factor >= 1 {
		return factor
	}
	if factor, err = Measure(context.Background()); err != nil {
		panic(fmt.Sprintf("cannot measure this machine's speed: %v; run make build, or set %s", err, Variable))
	}
	return factor
})

// Measure boots a machine and returns the factor. A machine with fewer cores than the reference
// machine is slower too, because tests run in parallel.
func Measure(ctx context.Context) (float64, error) {
	build, err := buildDir()
	if err != nil {
		return 0, err
	}
	took, err := boot(ctx, build)
	if err != nil {
		return 0, err
	}
	cores := min(runtime.NumCPU(), referenceCores)
	return max(1, took.Seconds()/referenceBoot.Seconds()*referenceCores/float64(cores)), nil
}

// buildDir returns the directory build in the checkout. It searches upwards, because tests start in
// the directory of their package.
func buildDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "build"), nil
		}
		dir = filepath.Dir(dir)
	}
	return "", errors.New("the working directory is not in a checkout")
}

// boot starts the pods' kernel and initramfs in plain QEMU and returns the time to husk-init's first line.
func boot(ctx context.Context, build string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-machine", "q35", "-cpu", "max", "-m", "160", "-smp", "1",
		"-bios", "qboot.rom", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config",
		"-kernel", filepath.Join(build, "vmlinuz"), "-initrd", filepath.Join(build, "initramfs.cpio"), "-append", kernel.Cmdline("hvc0", true),
		"-device", "virtio-serial-pci", "-chardev", "stdio,id=c", "-device", "virtconsole,chardev=c")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cancel() // kills it
		_ = cmd.Wait()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "husk-init: up") {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("qemu ended before husk-init was up: %s", stderr.String())
}
