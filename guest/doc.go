// SPDX-License-Identifier: Apache-2.0

// Package guest is the protocol between a node's agent and husk-init, PID 1 of a pod's VM. It is
// linked into both, so it imports few packages: session and limits are the only ones of this
// module.
//
// Everything runs over one virtio-serial port named PortName:
//
//	agent: Dial ── handshake ── Client ── one yamux stream per call
//	guest: Serve ─ handshake ── yamux ─── Handler (implemented by guest/pid1)
//
// Agents crash and restart at any time, and either side can receive bytes of a dead session on the
// wire. The handshake (handshake.go) resynchronizes them.
//
// The agent treats the guest as hostile: tenants can be root in it. Frames are length-prefixed and
// bounded (frame.go), every read of a call has a deadline (a session may be silent), and responses
// are validated after decoding (validate.go). A rate limit applies before yamux sees any byte (guard.go), so a guest that floods
// the channel only slows itself down.
package guest

// PortName is the name of the virtio-serial port that carries the channel.
const PortName = "husk.0"

// ProtocolVersion is the version that both ends of the channel must agree on. A pod keeps the
// husk-init with which it was booted, so an agent must support the versions of
// all running pods.
const ProtocolVersion = 1
