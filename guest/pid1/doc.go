// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package pid1 is husk-init, the first process of a pod's VM. It mounts what the pod needs, starts
// and supervises the containers, and serves the host on the guest channel. It runs in three roles:
//
//	Main       PID 1: boot.go → channel (guest.Serve) → pod.go → container.go
//	become.Container   PID 1 of a container: child.go builds the root file system inside
//	           fresh namespaces, then becomes the container's own process
//	become.Command    a command in a running container: execchild.go switches to the container's
//	           user, then becomes the command
//
// pod.go and container.go contain the pod's lifecycle and no Linux calls. They use the machine
// through the small interface in machine.go. Of this module, package pid1 imports only session,
// guest and the packages below guest. It is linked into a binary that is part of every pod, so the
// size of dependencies matters.
package pid1
