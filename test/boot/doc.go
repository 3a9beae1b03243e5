// SPDX-License-Identifier: Apache-2.0

// Package boot tests the inside of a pod's machine without the rest of Husk. The kernel, the
// initramfs and husk-init boot in plain QEMU, with files as disks. The tests call the guest over
// its channel as an agent does. deps.sh installs the tools and the kernel.
package boot
