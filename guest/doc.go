// Package guest is the protocol between a node's agent and husk-init, PID 1 of
// a pod's VM. It is linked into both, so it imports nothing of ours and little
// of anybody else's.
//
// Everything runs over one virtio-serial port named PortName:
//
//	agent: Dial ── handshake ── Client ── one yamux stream per call
//	guest: Serve ─ handshake ── yamux ─── Handler (implemented by guest/pid1)
//
// Agents die and come back at any time, and either side may find bytes of a
// dead session on the wire; the handshake (handshake.go) resynchronises.
//
// To the agent the guest is hostile: tenants may be root in it. Frames are
// length-prefixed and bounded (frame.go), every read has a deadline, answers
// are validated after decoding (validate.go), and what arrives is paid for from
// a budget before yamux sees it (guard.go), so a flood slows down the guest
// that sends it.
package guest

// PortName is the name of the virtio-serial port that carries the channel.
const PortName = "husk.0"

// ProtocolVersion is what both ends of the channel must agree on. A pod keeps
// the husk-init it was booted with, so an agent must go on speaking every
// version that a running pod may have.
const ProtocolVersion = 1
