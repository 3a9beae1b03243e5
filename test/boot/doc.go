// SPDX-License-Identifier: Apache-2.0

// Package boot tests what is inside a pod's machine without the rest of Husk: the kernel, the initramfs and husk-init boot in plain QEMU with
// disks from files, and the tests speak to the guest over its channel as an agent does. Tools and kernel are those of deps.sh.
package boot
