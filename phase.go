// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"fmt"
	"slices"
	"strings"
)

// Phase is the phase of a pod's life. Whether what is known of a pod is old is not a phase ([PodStatus.UnknownSince]).
type Phase string

// The phases of a pod.
const (
	PhasePending   Phase = "Pending"   // accepted; not placed yet
	PhaseStarting  Phase = "Starting"  // placed; its node is bringing the virtual machine up
	PhaseRunning   Phase = "Running"   // every container was started
	PhaseSucceeded Phase = "Succeeded" // all containers exited with 0 and will not be restarted
	PhaseFailed    Phase = "Failed"    // it ended in another way and will not be restarted
	PhaseStopping  Phase = "Stopping"  // its deletion or its stop was requested, or it was evicted
	PhaseStopped   Phase = "Stopped"   // it is on no node until it is started
	PhaseGone      Phase = "Gone"      // its virtual machine no longer exists; the row can be deleted
)

// PhaseEvent is something that moves a pod from one phase to another.
type PhaseEvent string

// The events. The first five come from the server, delete, stop and start come from the tenant, and the others come from the node's agent. When
// the agent reports an evicted pod as gone, the server requeues it, or halts it if it was to be stopped.
const (
	EventPlaced    PhaseEvent = "placed"
	EventEvict     PhaseEvent = "evict"
	EventFenced    PhaseEvent = "fenced"
	EventRequeue   PhaseEvent = "requeue"
	EventHalt      PhaseEvent = "halt"
	EventDelete    PhaseEvent = "delete"
	EventStop      PhaseEvent = "stop"
	EventStart     PhaseEvent = "start"
	EventStarting  PhaseEvent = "starting"
	EventRunning   PhaseEvent = "running"
	EventSucceeded PhaseEvent = "succeeded"
	EventFailed    PhaseEvent = "failed"
	EventStopping  PhaseEvent = "stopping"
	EventGone      PhaseEvent = "gone"
)

// Phases lists every phase, in the order in which a pod goes through them.
var Phases = []Phase{
	PhasePending, PhaseStarting, PhaseRunning, PhaseSucceeded, PhaseFailed, PhaseStopping, PhaseStopped, PhaseGone,
}

// PhaseEvents lists every event.
var PhaseEvents = []PhaseEvent{
	EventPlaced, EventStarting, EventRunning, EventSucceeded, EventFailed, EventFenced, EventEvict, EventStop, EventStart, EventDelete, EventStopping, EventRequeue, EventHalt, EventGone,
}

// phaseTable is the pod's state machine. An event that a phase does not list is late or does not apply; it is dropped.
var phaseTable = map[Phase]map[PhaseEvent]Phase{
	PhasePending: {
		EventPlaced: PhaseStarting,
		EventDelete: PhaseGone, // never placed: nothing to stop
		EventStop:   PhaseStopped,
	},
	PhaseStarting: {
		EventStarting: PhaseStarting, EventRunning: PhaseRunning, EventSucceeded: PhaseSucceeded, EventFailed: PhaseFailed,
		EventFenced: PhasePending, EventDelete: PhaseStopping, EventEvict: PhaseStopping, EventStop: PhaseStopping,
	},
	PhaseRunning: {
		EventStarting: PhaseStarting, // the virtual machine died and is being restarted
		EventRunning:  PhaseRunning, EventSucceeded: PhaseSucceeded, EventFailed: PhaseFailed,
		EventFenced: PhasePending, EventDelete: PhaseStopping, EventEvict: PhaseStopping, EventStop: PhaseStopping,
	},
	// What is left of a pod that has ended is removed from its node before it starts again.
	PhaseSucceeded: {EventSucceeded: PhaseSucceeded, EventDelete: PhaseStopping, EventStart: PhaseStopping},
	PhaseFailed:    {EventFailed: PhaseFailed, EventDelete: PhaseStopping, EventStart: PhaseStopping},
	PhaseStopping: {
		EventStopping: PhaseStopping, EventDelete: PhaseStopping, EventGone: PhaseGone,
		EventRequeue: PhasePending, // only if it was evicted, not deleted
		EventHalt:    PhaseStopped, // only if it was stopped
	},
	PhaseStopped: {EventStart: PhasePending, EventDelete: PhaseGone},
	PhaseGone:    {},
}

// Next returns the phase after an event. It returns false if the event does not apply in this phase.
func (p Phase) Next(e PhaseEvent) (Phase, bool) {
	next, ok := phaseTable[p][e]
	return next, ok
}

// Holds reports whether a pod in this phase may still have a virtual machine, and so keeps its allocation on the node.
func (p Phase) Holds() bool {
	return slices.Contains([]Phase{PhaseStarting, PhaseRunning, PhaseStopping}, p)
}

// PhaseDiagram returns the state machine as a Mermaid diagram, for docs/.
func PhaseDiagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> Pending\n")
	for _, from := range Phases {
		for _, e := range PhaseEvents {
			if to, ok := from.Next(e); ok && to != from {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, e)
			}
		}
	}
	b.WriteString("    Gone --> [*]\n")
	return b.String()
}
