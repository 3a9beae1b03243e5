// SPDX-License-Identifier: Apache-2.0

// Package importer turns an image in a registry into a squashfs file, in a process of its own.
//
// Registries and images are hostile. So the process that reads them has limits of memory, CPU time,
// processes and file size, runs as nobody if its parent is root, and has no credentials except those for the
// registry. Whatever an image does to it, the server that started it continues, and so do the other
// imports.
//
// The process is the same program again, started with Argument. So a program that calls Import
// calls BeChild first of all.
package importer
