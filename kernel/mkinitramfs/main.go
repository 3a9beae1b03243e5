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
	version := flag.String("kernel-version", "auto", "version of the kernel whose modules to use; auto: the newest installed cloud kernel")
	init := flag.String("init", "bin/husk-init", "static program to use as /init")
	probe := flag.String("probe", "bin/husk-probe", "static program to use as /husk-probe")
	out := flag.String("o", "build/initramfs.cpio", "where to write the initramfs")
	vmlinuz := flag.String("vmlinuz-out", "", "where to copy the kernel itself; empty: do not copy it")
	show := flag.Bool("print-kernel", false, "print the version of the kernel, and build nothing")
	flag.Parse()
	if *show {
		v, err := kernel.FindVersion()
		if err != nil {
			fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
			os.Exit(1)
		}
		fmt.Println(v)
		return
	}
	if err := run(*version, *init, *probe, *out, *vmlinuz); err != nil {
		fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
		os.Exit(1)
	}
}

func run(version, init, probe, out, vmlinuz string) error {
	if version == "auto" {
		var err error
		if version, err = kernel.FindVersion(); err != nil {
			return err
		}
	}
	err := replace(out, func(w io.Writer) error {
		return kernel.WriteInitramfs(w, init, probe, filepath.Join("/lib/modules", version))
	})
	if err != nil || vmlinuz == "" {
		return err
	}
	return replace(vmlinuz, func(w io.Writer) error {
		in, err := os.Open(filepath.Join("/boot", "vmlinuz-"+version))
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	})
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
