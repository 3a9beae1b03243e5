// SPDX-License-Identifier: Apache-2.0

// Command mkinitramfs builds the initramfs of a pod's VM from husk-init, husk-probe and the modules of
// an installed kernel.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/kernel"
)

func main() {
	which := flag.String("kernel", "auto", "which kernel: \"husk\", built by make kernel; \"debian\", the newest cloud kernel that is installed; \"auto\", the first of them that is there")
	init := flag.String("init", "bin/husk-init", "static program to use as /init")
	probe := flag.String("probe", "bin/husk-probe", "static program to use as /husk-probe")
	out := flag.String("o", "build/initramfs.cpio", "where to write the initramfs")
	vmlinuz := flag.String("vmlinuz-out", "", "where to copy the kernel itself, with its description in a file of that name and .json; empty: do not copy it")
	show := flag.Bool("print-kernel", false, "print the path of the kernel, and build nothing")
	flag.Parse()
	k, err := kernel.Find(*which)
	switch {
	case err != nil:
	case *show:
		fmt.Println(k.Image)
	default:
		err = build(k, *init, *probe, *out, *vmlinuz)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
		os.Exit(1)
	}
}

func build(k kernel.Kernel, init, probe, out, vmlinuz string) error {
	err := replace(out, func(w io.Writer) error {
		return kernel.WriteInitramfs(w, init, probe, k.Modules)
	})
	if err != nil || vmlinuz == "" {
		return err
	}
	err = replace(vmlinuz, func(w io.Writer) error {
		in, err := os.Open(k.Image)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	})
	if err != nil {
		return err
	}
	return k.Describe(vmlinuz)
}

// replace writes a file atomically. QEMU runs as another user and must be able to read it.
func replace(name string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
