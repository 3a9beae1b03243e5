// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"fmt"
	"time"
)

// Names of the calls. Each has its own stream with one request and one response (logs: many
// responses, the last one with End set).
const (
	callHello  = "hello"
	callStart  = "start"
	callStatus = "status"
	callLogs   = "logs"
	callStop   = "stop"
	callStats  = "stats"
	callUpdate = "update"
	callSignal = "signal"
	callClock  = "clock"
	callGrow   = "grow"
	callFreeze = "freeze"
	callThaw   = "thaw"
	callResize = "resize"

	// After the response to these calls, the stream carries frames of package session, both ways.
	callExec    = "exec"
	callAttach  = "attach"
	callForward = "forward"
	callCopyOut = "copyOut"
	callCopyIn  = "copyIn"
)

type request struct {
	Version int    `json:"v"`
	Call    string `json:"call"`

	Spec          *Spec   `json:"spec,omitempty"`
	Values        *Values `json:"values,omitempty"`
	AfterRevision uint64  `json:"afterRevision,omitempty"`
	MaxWaitMillis int64   `json:"maxWaitMillis,omitempty"`
	Container     string  `json:"container,omitempty"`
	Signal        int     `json:"signal,omitempty"`
	ClockNanos    int64   `json:"clockNanos,omitempty"` // to add to the clock
	ClockSets     uint64  `json:"clockSets,omitempty"`  // see Stats
	Serial        string  `json:"serial,omitempty"`     // of a volume's disk
	SizeBytes     int64   `json:"sizeBytes,omitempty"`
	CPUs          int     `json:"cpus,omitempty"`
	AfterSeq      uint64  `json:"afterSeq,omitempty"`
	Follow        bool    `json:"follow,omitempty"`
	GraceMillis   int64   `json:"gracePeriodMillis,omitempty"`

	Exec   *Exec   `json:"exec,omitempty"`
	Attach *Attach `json:"attach,omitempty"`
	Port   int     `json:"port,omitempty"`
	Copy   *Copy   `json:"copy,omitempty"`
}

type reply struct {
	Version int        `json:"v"`
	Error   *CallError `json:"error,omitempty"`
	Hello   *Hello     `json:"hello,omitempty"`
	Status  *Status    `json:"status,omitempty"`
	Stats   *Stats     `json:"stats,omitempty"`
	Entries []LogEntry `json:"entries,omitempty"` // none: keepalive
	End     bool       `json:"end,omitempty"`
}

// Codes of a CallError.
const (
	CodeInvalid  = "invalid"  // the request is invalid for the guest
	CodeConflict = "conflict" // another spec was started, or the clock was corrected meanwhile
	CodeNotFound = "notFound" // no such container
	CodeStopping = "stopping" // too late: the guest is shutting down
	CodeInternal = "internal"

	CodeNotRunning    = "notRunning"    // the container is not running
	CodeNoCommand     = "noCommand"     // the command does not exist
	CodeNotExecutable = "notExecutable" // the command, its user or its directory cannot be used
	CodeRefused       = "refused"       // nothing listens on the port
	CodeNoFile        = "noFile"        // no such file in the container
	CodeBusy          = "busy"          // too many open streams
	CodeNoInput       = "noInput"       // the container has no input or no terminal, or its input has ended
	CodeSlow          = "slow"          // the client did not read the output
	CodeFailed        = "failed"        // the request failed in the container: disk full, no such directory, …
)

// CallError is the guest's refusal of a call. The text comes from the guest: show it to the pod's
// tenant only.
type CallError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *CallError) Error() string { return "guest: " + e.Message }

func errorf(code, format string, args ...any) *CallError {
	return &CallError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// decodeRequest is used by the guest. The host is trusted, but may be newer.
func decodeRequest(body []byte) (request, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return request{}, errorf(CodeInvalid, "request: %v", err)
	}
	if r.Version != ProtocolVersion {
		return request{}, errorf(CodeInvalid, "request: protocol version %d, this guest supports %d", r.Version, ProtocolVersion)
	}
	return r, nil
}

// decodeReply is used by the host: body is hostile.
func decodeReply(body []byte) (reply, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return reply{}, fmt.Errorf("reply: %w", err)
	}
	if r.Version != ProtocolVersion {
		return reply{}, fmt.Errorf("reply: protocol version %d, want %d", r.Version, ProtocolVersion)
	}
	if err := r.check(); err != nil {
		return reply{}, fmt.Errorf("reply: %w", err)
	}
	return r, nil
}

func millis(d time.Duration) int64 { return max(0, d.Milliseconds()) }
