// SPDX-License-Identifier: Apache-2.0

// Package kernelpath runs the tests of package dev's nodes in an emulated machine whose kernel has the datapath of Open vSwitch. On machines whose
// kernel has none, all other tests use the userspace datapath.
//
// The machine has no disk: its initramfs contains a test binary of package dev, Open vSwitch and OVN of build/ovn, the programs that the tests call,
// and the modules of Debian's kernel.
package kernelpath
