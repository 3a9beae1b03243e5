package husk

import (
	"fmt"
	"slices"
	"strings"
)

// Phase is where a pod stands in its life.
type Phase string

// The phases of a pod.
const (
	PhasePending   Phase = "Pending"   // accepted; not placed yet
	PhaseStarting  Phase = "Starting"  // placed; its node is bringing the virtual machine up
	PhaseRunning   Phase = "Running"   // every container was started
	PhaseSucceeded Phase = "Succeeded" // all containers ended with 0 and are not started again
	PhaseFailed    Phase = "Failed"    // ended otherwise, and is not started again
	PhaseUnknown   Phase = "Unknown"   // its node does not answer, so nobody knows
	PhaseStopping  Phase = "Stopping"  // its deletion was requested, or it was evicted
	PhaseGone      Phase = "Gone"      // no virtual machine is left; the row may go
)

// PhaseEvent is something that moves a pod from one phase to another.
type PhaseEvent string

// The events: the first four come from the server's loops, delete from the tenant, the others from the node's agent.
const (
	EventPlaced    PhaseEvent = "placed"
	EventNodeLost  PhaseEvent = "node-lost"
	EventEvict     PhaseEvent = "evict"
	EventRequeue   PhaseEvent = "requeue"
	EventDelete    PhaseEvent = "delete"
	EventStarting  PhaseEvent = "starting"
	EventRunning   PhaseEvent = "running"
	EventSucceeded PhaseEvent = "succeeded"
	EventFailed    PhaseEvent = "failed"
	EventStopping  PhaseEvent = "stopping"
	EventGone      PhaseEvent = "gone"
)

// Phases lists every phase, in the order of a life.
var Phases = []Phase{
	PhasePending, PhaseStarting, PhaseRunning, PhaseSucceeded, PhaseFailed, PhaseUnknown, PhaseStopping, PhaseGone,
}

// PhaseEvents lists every event.
var PhaseEvents = []PhaseEvent{
	EventPlaced, EventStarting, EventRunning, EventSucceeded, EventFailed, EventNodeLost, EventEvict, EventDelete, EventStopping, EventRequeue, EventGone,
}

// phaseTable is the pod's state machine. A pair that is absent is refused: the event is late or does not apply, and is dropped.
// A node that was lost and answers again says what it runs, which is why Unknown accepts the agent's events.
var phaseTable = map[Phase]map[PhaseEvent]Phase{
	PhasePending: {
		EventPlaced: PhaseStarting,
		EventDelete: PhaseGone, // never placed: nothing to stop
	},
	PhaseStarting: {
		EventStarting: PhaseStarting, EventRunning: PhaseRunning, EventSucceeded: PhaseSucceeded, EventFailed: PhaseFailed,
		EventNodeLost: PhaseUnknown, EventDelete: PhaseStopping, EventEvict: PhaseStopping,
	},
	PhaseRunning: {
		EventStarting: PhaseStarting, // the virtual machine died and is started again
		EventRunning:  PhaseRunning, EventSucceeded: PhaseSucceeded, EventFailed: PhaseFailed,
		EventNodeLost: PhaseUnknown, EventDelete: PhaseStopping, EventEvict: PhaseStopping,
	},
	PhaseSucceeded: {EventSucceeded: PhaseSucceeded, EventDelete: PhaseStopping},
	PhaseFailed:    {EventFailed: PhaseFailed, EventDelete: PhaseStopping},
	PhaseUnknown: {
		EventStarting: PhaseStarting, EventRunning: PhaseRunning, EventSucceeded: PhaseSucceeded, EventFailed: PhaseFailed,
		EventNodeLost: PhaseUnknown, EventDelete: PhaseStopping,
	},
	PhaseStopping: {
		EventStopping: PhaseStopping, EventDelete: PhaseStopping, EventNodeLost: PhaseStopping, EventGone: PhaseGone,
		EventRequeue: PhasePending, // it was evicted, not deleted
	},
	PhaseGone: {},
}

// Next returns the phase that follows an event, and false when the event does not apply in this phase.
func (p Phase) Next(e PhaseEvent) (Phase, bool) {
	next, ok := phaseTable[p][e]
	return next, ok
}

// Holds tells whether a virtual machine of a pod of this phase may exist, so that its room on the node is still its own.
func (p Phase) Holds() bool {
	return slices.Contains([]Phase{PhaseStarting, PhaseRunning, PhaseUnknown, PhaseStopping}, p)
}

// PhaseDiagram draws the state machine as Mermaid source, for docs/.
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
