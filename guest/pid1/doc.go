//go:build linux

// Package pid1 is husk-init: the first process of a pod's VM. It mounts what a
// pod needs, starts the containers and watches over them, and answers the host
// on the guest channel. It runs in two roles:
//
//	Main       PID 1: boot.go → channel (guest.Serve) → pod.go → container.go
//	RunChild   PID 1 of a container: child.go builds the root file system inside
//	           fresh namespaces, then becomes the container's own process
//
// pod.go, container.go, backoff.go and ring.go are the pod's life and know no
// Linux; they reach the machine through the small interface in machine.go.
// Package guest is the only package of ours it imports. It is linked into a
// binary that every pod carries: dependencies are weighed in kilobytes.
package pid1
