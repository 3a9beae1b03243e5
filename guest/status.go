// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"time"
)

// Phases of a pod.
const (
	PhaseWaiting   = "waiting" // no spec yet, or disks and network are being set up
	PhaseRunning   = "running"
	PhaseSucceeded = "succeeded"
	PhaseFailed    = "failed"
	PhaseStopping  = "stopping" // stopped by the host before it ended by itself
)

// States of a container.
const (
	StateWaiting = "waiting"
	StateRunning = "running"
	StateExited  = "exited"
)

// Reasons of a container's state.
const (
	ReasonStartError = "StartError" // never ran, because the command, user or directory does not exist or similar
	ReasonCompleted  = "Completed"  // exit code 0
	ReasonError      = "Error"      // any other exit code, or a signal
	ReasonOOMKilled  = "OOMKilled"
	ReasonBackOff    = "BackOff"          // waits for its next restart
	ReasonNoClient   = "WaitingForClient" // starts when a client attaches
	// Of a run that husk-init ended.
	ReasonUnhealthy  = "Unhealthy"        // a startup or liveness probe failed
	ReasonHookFailed = "PostStartFailed"  // the hook after its start failed
	ReasonNotReady   = "NotReady"         // runs, but a probe has not succeeded yet, or the readiness probe fails
	ReasonDeadline   = "DeadlineExceeded" // of the pod
)

// Hello identifies the guest.
type Hello struct {
	Protocol int    `json:"protocol"`
	BootID   string `json:"bootID"`  // random per boot; revisions and log sequences start again with it
	Started  bool   `json:"started"` // a spec was accepted in this boot
	// Milliseconds from the boot of the guest's kernel to the start of husk-init, and to now, for
	// benchmarks.
	InitUpMillis int64 `json:"initUpMillis"`
	UptimeMillis int64 `json:"uptimeMillis"`
}

// Status is the state of the pod.
type Status struct {
	Revision uint64 `json:"revision"` // increases with every change, starts at 1 in each boot
	BootID   string `json:"bootID"`
	Phase    string `json:"phase"`
	Error    string `json:"error,omitempty"`  // why the pod as a whole failed
	Reason   string `json:"reason,omitempty"` // of the error, in one word
	// Stopped: all containers have ended and volumes are unmounted. The guest powers off once a
	// host has read this, or after a short wait.
	Stopped    bool              `json:"stopped,omitempty"`
	Containers []ContainerStatus `json:"containers,omitempty"`
}

// ContainerStatus is the state of one container. ExitCode, Signal, OOMKilled and FinishedAt
// describe the run that ended if State is exited, and the previous run if it is waiting.
type ContainerStatus struct {
	Name          string    `json:"name"`
	State         string    `json:"state"`
	Reason        string    `json:"reason,omitempty"`
	Message       string    `json:"message,omitempty"`
	ExitCode      int       `json:"exitCode"`         // 128+n if killed by signal n; 127 and 126 as in a shell
	Signal        int       `json:"signal,omitempty"` // the signal that killed it
	Restarts      int       `json:"restarts"`
	StartedAt     time.Time `json:"startedAt,omitzero"`
	FinishedAt    time.Time `json:"finishedAt,omitzero"`
	NextRestartAt time.Time `json:"nextRestartAt,omitzero"`
	OOMKilled     bool      `json:"oomKilled,omitempty"`
	Ready         *bool     `json:"ready,omitempty"`        // a guest of an earlier version does not say
	LastExitCode  *int      `json:"lastExitCode,omitempty"` // of the latest run that ended, in every state
}

// Streams of a container's output.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// LogEntry is a piece of a container's output in one stream: complete lines with their newlines, or a
// part of a line that is longer than MaxLogPiece or ends without a newline.
type LogEntry struct {
	// Seq is the position of the piece's end in the container's output, across its restarts: how many
	// bytes both streams had in this boot until then. A gap before the piece means lost bytes.
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"`
	Bytes  []byte    `json:"bytes,omitempty"`

	// Guests of the previous version send one line per entry, without its newline, and count entries
	// instead of bytes. Client.Logs converts them: then Lines is true, and Bytes has the line.
	Line    []byte `json:"line,omitempty"`
	Partial bool   `json:"partial,omitempty"` // the line continues in the stream's next entry
	Lines   bool   `json:"-"`
}

// Start returns the position of the piece's beginning.
func (e *LogEntry) Start() uint64 {
	if e.Lines {
		return e.Seq - 1
	}
	return e.Seq - uint64(len(e.Bytes))
}

// maxPosition bounds a position, so that no sum overflows.
const maxPosition = 1 << 53

// settle converts an entry of a guest of the previous version, and checks that it comes after a
// position.
func (e *LogEntry) settle(after uint64) error {
	if len(e.Bytes) == 0 {
		e.Lines, e.Bytes = true, e.Line
		if !e.Partial {
			e.Bytes = append(e.Bytes, '\n')
		}
		e.Line, e.Partial = nil, false
	}
	least := after + 1
	if !e.Lines {
		least = after + uint64(len(e.Bytes))
	}
	if e.Seq < least || e.Seq > maxPosition {
		return fmt.Errorf("an entry of %d bytes ends at %d after %d", len(e.Bytes), e.Seq, after)
	}
	return nil
}
