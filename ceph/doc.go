// Package ceph keeps images, volumes and the keys of pods on Ceph, through
// librados and librbd. The server uses it; a node needs none of it, because
// QEMU opens its disks itself with the pod's key.
//
//	images pool    img-<digest>        squashfs, one protected snapshot "husk"
//	               img-<digest>.half   an import under way or broken off
//	volumes pool   caller's name       a tenant's clone of an image, or a volume
//	               husk-pod-keys       index object: the pods that have a key
//
// Every operation may be broken off anywhere and called again: what a step
// leaves behind says by its name, its snapshot or its metadata whether it is
// whole, and the next call goes on from there or starts over. Calls into librbd
// cannot be cancelled; the context is looked at between them, and Ceph's own
// timeouts bound each.
//
// No go-ceph type leaves the package. It imports nothing of ours.
package ceph
