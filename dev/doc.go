// SPDX-License-Identifier: Apache-2.0

// Package dev runs all services that Husk needs as child processes of one process: Postgres, a
// single-node Ceph, libvirt and, on request, an OCI registry on loopback. `huskd dev` and the tests
// use it, so development, tests and production run the same code with the same daemons.
//
// Reading order: [Start] in stack.go starts the parts. Each part is one file (postgres.go, ceph.go,
// libvirt.go, registry.go), and consists of children (child.go) that are started, probed until
// ready, restarted when they crash, and stopped in reverse order.
//
// Everything is in one state directory, which only one process at a time can hold (statedir.go).
// Nothing outlives its owner: a child gets a death signal when the parent ends in any way
// (host/forker.go). What is still left is recognized by recorded pid and start time, never by name, and
// ended at the next start (record.go).
//
// The package imports no other package of this module. cmd/huskd and tests import it.
package dev
