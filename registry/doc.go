// SPDX-License-Identifier: Apache-2.0

// Package registry reads OCI images from registries. It resolves a reference to the digest of its
// linux/amd64 manifest, and flattens the layers to one tar stream of the files that a container
// would see.
//
// A registry is as untrusted as the images in it. Everything it sends is limited in size and time,
// and every blob is checked against its digest before any of it is used. No file of an image is
// ever created on the host: layers are kept compressed in a temporary file, and a tree of names in
// memory (tree.go) determines which entries survive.
//
// The package imports egress, which decides at which addresses a registry may be. It does not know
// Ceph.
package registry
