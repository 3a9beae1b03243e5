// Package dev runs everything Husk stands on as child processes of one
// process: Postgres, a single-node Ceph, libvirt and, when asked, an OCI
// registry on loopback. `huskd dev` and the tests use it, so development,
// tests and production run the same code against the same daemons.
//
// Reading order: [Start] in stack.go brings the parts up, each part is one file
// (postgres.go, ceph.go, libvirt.go, registry.go), and each part is made of
// children (child.go) that are started, probed until ready, restarted when they
// crash and stopped in reverse order.
//
// Everything lives under one state directory, which one process at a time may
// hold (statedir.go). Nothing outlives its owner: a child gets a death signal
// when the parent dies in any way (forker.go), and what is left all the same is
// recognised by recorded pid and start time, never by name, and ended at the
// next start (record.go).
//
// The package may import nothing of ours; it is imported by cmd/huskd and tests.
package dev
