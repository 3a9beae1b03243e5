package guest

import (
	"encoding/json"
	"fmt"
	"time"
)

// Names of the calls. Each has a stream of its own: one request, one answer
// (logs: many answers, the last one with End set).
const (
	callHello  = "hello"
	callStart  = "start"
	callStatus = "status"
	callLogs   = "logs"
	callStop   = "stop"
	callStats  = "stats"

	// After the answer to these, the stream is a session: frames of package
	// session, both ways.
	callExec    = "exec"
	callAttach  = "attach"
	callForward = "forward"
	callCopyOut = "copyOut"
	callCopyIn  = "copyIn"
)

type request struct {
	Version int    `json:"v"`
	Call    string `json:"call"`

	Spec          *Spec  `json:"spec,omitempty"`
	AfterRevision uint64 `json:"afterRevision,omitempty"`
	MaxWaitMillis int64  `json:"maxWaitMillis,omitempty"`
	Container     string `json:"container,omitempty"`
	AfterSeq      uint64 `json:"afterSeq,omitempty"`
	Follow        bool   `json:"follow,omitempty"`
	GraceMillis   int64  `json:"gracePeriodMillis,omitempty"`

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
	Entries []LogEntry `json:"entries,omitempty"` // none: a sign of life
	End     bool       `json:"end,omitempty"`
}

// Codes of a CallError.
const (
	CodeInvalid  = "invalid"  // the request makes no sense to the guest
	CodeConflict = "conflict" // another spec was started
	CodeNotFound = "notFound" // no such container
	CodeStopping = "stopping" // too late: the guest is going down
	CodeInternal = "internal"

	CodeNotRunning    = "notRunning"    // the container does not run now
	CodeNoCommand     = "noCommand"     // the command is not there
	CodeNotExecutable = "notExecutable" // the command, its user or its directory cannot be used
	CodeRefused       = "refused"       // nothing listens on the port
	CodeNoFile        = "noFile"        // no such file in the container
	CodeBusy          = "busy"          // too many sessions at once
	CodeNoInput       = "noInput"       // the container has no input, or no terminal, or its input has ended
	CodeSlow          = "slow"          // the session's client did not take the output
	CodeFailed        = "failed"        // what was asked for went wrong in the container: no room, no such directory, …
)

// CallError is the guest's refusal of a call. The text comes from the guest:
// show it to the pod's tenant only.
type CallError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *CallError) Error() string { return "guest: " + e.Message }

func errorf(code, format string, args ...any) *CallError {
	return &CallError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// decodeRequest is the guest's side. The host is trusted, but may be newer.
func decodeRequest(body []byte) (request, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return request{}, errorf(CodeInvalid, "request: %v", err)
	}
	if r.Version != ProtocolVersion {
		return request{}, errorf(CodeInvalid, "request: protocol version %d, this guest speaks %d", r.Version, ProtocolVersion)
	}
	return r, nil
}

// decodeReply is the host's side: body is hostile.
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
