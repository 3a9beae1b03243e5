// SPDX-License-Identifier: Apache-2.0

// Package ceph stores images, volumes and the keys of pods in Ceph, through librados and librbd.
// Only the server uses it: a node does not need it, because QEMU opens its disks itself with the
// pod's key.
//
//	images pool    img-<digest>        squashfs, one protected snapshot "husk"
//	               new-<caller's name>  an image that is being stored, or whose storing was interrupted
//	volumes pool   caller's name       a tenant's clone of an image, or a volume
//	               husk-pod-keys       index object: the pods that have a key
//
// Every operation can be interrupted at any point and called again. Each step leaves a name, snapshot
// or metadata that shows whether it is complete, and the next call continues from there or starts
// over. Calls into librbd cannot be canceled. The context is checked between them, and
// Ceph's own timeouts limit each.
//
// The package exposes no go-ceph types. It imports no other package of this module.
package ceph
