// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package hotplug uses CPUs and memory that a machine gets while it runs.
package hotplug

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wait is how long a CPU may take to appear after the machine has got it.
const wait = 5 * time.Second

// CPUs uses the first n CPUs of the machine, and no others. The machine may get some of them a little later.
func CPUs(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		cpus, err := present()
		if err != nil {
			return err
		}
		if err := use(cpus, n); err != nil || len(cpus) >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the machine has %d CPUs instead of %d", len(cpus), n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const cpuDir = "/sys/devices/system/cpu"

// present returns the numbers of the CPUs that the machine has.
func present() ([]int, error) {
	dirs, err := filepath.Glob(filepath.Join(cpuDir, "cpu[0-9]*"))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, dir := range dirs {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "cpu")); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// use turns the first n of these CPUs on, and the others off. The first one is always on.
func use(cpus []int, n int) error {
	for i, cpu := range cpus {
		want := "0"
		if i < n {
			want = "1"
		}
		file := filepath.Join(cpuDir, "cpu"+strconv.Itoa(cpu), "online")
		has, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(has)) == want { // a CPU that cannot be turned off has no such file
			continue
		}
		if err == nil {
			err = os.WriteFile(file, []byte(want), 0)
		}
		if err != nil {
			return fmt.Errorf("turn CPU %d on (1) or off (0), to %s: %w", cpu, want, err)
		}
	}
	return nil
}

// Memory makes the kernel use memory that the machine gets from now on. Most of it is movable, so that the machine can give it back: three times what is not
// (auto_movable_ratio of Linux' Documentation/admin-guide/mm/memory-hotplug.rst).
func Memory() error {
	for file, value := range map[string]string{
		"/sys/module/memory_hotplug/parameters/online_policy": "auto-movable",
		"/sys/devices/system/memory/auto_online_blocks":       "online",
	} {
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return fmt.Errorf("use memory that the machine gets: %w", err)
		}
	}
	return nil
}
