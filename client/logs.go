// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// LogLine is one line of a container's output, or a part of one.
type LogLine struct {
	Time         time.Time `json:"time"`
	Stream       string    `json:"stream"` // stdout or stderr
	Line         string    `json:"line"`
	Bytes        []byte    `json:"bytes"`        // the line, if it is not valid UTF-8; Line is then only similar
	Partial      bool      `json:"partial"`      // has no newline: the next LogLine of the stream continues this line, or it is the last one
	DroppedBytes uint64    `json:"droppedBytes"` // how many bytes of output are missing before this line
	Dropped      uint64    `json:"dropped"`      // how many lines are missing, if the pod was started by an earlier version of Husk
	Cursor       string    `json:"cursor"`       // for LogOptions.After
}

// Text returns the line as the container wrote it, byte for byte, with its newline if it has one.
func (l LogLine) Text() string {
	text := l.Line
	if len(l.Bytes) > 0 {
		text = string(l.Bytes)
	}
	if l.Partial {
		return text
	}
	return text + "\n"
}

// Missing returns how much output is missing before this line, and nothing if none is.
func (l LogLine) Missing() string {
	switch {
	case l.DroppedBytes > 0:
		return fmt.Sprintf("%d bytes", l.DroppedBytes)
	case l.Dropped > 0:
		return fmt.Sprintf("%d lines", l.Dropped)
	default:
		return ""
	}
}

// LogOptions choose lines.
type LogOptions struct {
	Container string    // may be empty if the pod has only one
	Tail      *int      // only the last lines; nil is all that are kept
	Since     time.Time // only lines from this time on
	After     string    // only lines after the one with this cursor
	// Follow continues with new lines until the container ends and is not restarted, or the pod is deleted. If the pod is evicted, it continues
	// with the lines that the container writes on the next node. A connection that breaks is opened again after the last line, so no line is
	// yielded twice.
	Follow bool
}

// Logs yields the lines of a container's log.
func (p Pods) Logs(ctx context.Context, id uuid.UUID, o LogOptions) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		f := follower{
			c: p.c, id: id, o: o, last: given(o.After), take: func(l LogLine) error {
				if !yield(l, nil) {
					return errStopped
				}
				return nil
			},
		}
		var err error
		if o.Follow {
			err = f.toTheEnd(ctx)
			if f.opened && IsNotFound(err) { // deleted meanwhile
				err = nil
			}
		} else {
			err = f.once(ctx, false)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(LogLine{}, err)
		}
	}
}

// follower reads a log while it grows. Each line has a cursor, so the follower can continue after the last line it read, at any server.
type follower struct {
	c    *Client
	id   uuid.UUID
	o    LogOptions
	take func(LogLine) error

	last  *string // cursor of the last line
	count int     // lines read

	opened bool // the log could be read

	placed  bool        // the pod has been seen on a node
	evicted atomic.Bool // the pod was on a node, and waits for the next one
}

// maxLogLine is the maximum length of one line of the stream, in bytes. The agent splits long lines into much shorter pieces.
const maxLogLine = 1 << 20

// once reads until the log ends, or until its connection breaks, which is an error.
func (f *follower) once(ctx context.Context, follow bool) error {
	accept := "application/x-ndjson"
	params := openapi.GetPodLogsParams{Container: given(f.o.Container), Follow: &follow, Accept: &accept, After: f.last}
	if !f.o.Since.IsZero() {
		params.Since = &f.o.Since
	}
	if f.count == 0 {
		params.Tail = f.o.Tail
	}
	resp, err := f.c.api.GetPodLogs(ctx, f.id, &params)
	if err := Check(resp, err); err != nil {
		return err
	}
	defer resp.Body.Close()
	f.opened = true
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		var l LogLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("the log of pod %s does not match the contract: %w", f.id, err)
		}
		f.count++
		f.last = given(l.Cursor)
		if err := f.take(l); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("the log of pod %s has a line of more than %d bytes", f.id, maxLogLine)
		}
		return &UnreachableError{fmt.Errorf("the log of pod %s broke off: %w", f.id, err)}
	}
	return nil
}

// patience is how many times in a row the follower tries to open a log before it reports the error.
const patience = 12 // about 50 s with backoff, enough time to replace the agent of a node

// follow reads until the log ends. It reopens a connection that breaks.
func (f *follower) follow(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		before := f.count
		err := f.once(ctx, true)
		switch {
		case err == nil || errors.Is(err, errStopped):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if f.count != before {
			attempt = 1
		}
		if f.evicted.Load() { // it may wait for a node for any time
			attempt = min(attempt, patience/2)
		}
		mayCome := IsUnreachable(err) || HasCode(err, husk.CodeLogsUnavailable) || HasCode(err, husk.CodeUnavailable)
		if attempt >= patience || !mayCome {
			return err
		}
		if err := pause(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// toTheEnd follows until the container ends and is not restarted. The end of a stream does not show this: a stream also ends when its
// agent stops, and it may stay open although nothing more can come. So the follower also reads the pod, and reads the rest of the log once
// the container has ended.
func (f *follower) toTheEnd(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		before := f.count
		over, err := f.whileRunning(ctx)
		if err != nil {
			return err
		}
		if over {
			err := f.once(ctx, false)
			switch {
			case errors.Is(err, errStopped):
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			default:
				return nil // an error does not matter: the log may be deleted with the pod
			}
		}
		if f.count != before {
			attempt = 1
		}
		if err := pause(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// lookEvery is how often the follower reads the pod.
const lookEvery = time.Second

// lastOutput is how long the stream of a deleted pod may take to end by itself.
const lastOutput = 2 * time.Second

// whileRunning follows until the stream ends or the container has ended. It reports whether the container has ended.
func (f *follower) whileRunning(ctx context.Context) (over bool, _ error) {
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	type look struct {
		over bool
		err  error
	}
	looked := make(chan look, 1)
	go func() {
		for {
			pod, err := f.c.Pods.Get(ctx, f.id)
			over := err == nil && HasEnded(pod, f.o.Container)
			if err == nil {
				pending := pod.Status.Phase == openapi.PodPhasePending
				f.placed = f.placed || !pending
				f.evicted.Store(f.placed && pending)
			}
			mayRun := IsUnreachable(err) && streaming.Err() == nil // this says nothing about the container, and the open stream may continue
			if !mayRun && (err != nil || over || streaming.Err() != nil) {
				// What the container has written while it was stopped may still be on its way.
				if IsNotFound(err) {
					_ = pause(streaming, lastOutput) //nolint:errcheck // it has ended
				}
				stop()
				looked <- look{over, err}
				return
			}
			_ = pause(streaming, lookEvery) //nolint:errcheck // if the streaming has ended, the next round sees that
		}
	}()
	err := f.follow(streaming)
	stopped := streaming.Err() != nil
	stop()
	last := <-looked
	switch {
	case errors.Is(err, errStopped):
		return false, err
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && !stopped:
		return false, err
	default:
		return last.over, last.err
	}
}

// HasEnded reports whether a container of the pod has ended and is not restarted. The containers of a pod that is being deleted may run until
// their grace period ends, and those of an evicted pod run again on the next node. An empty name is the pod's only container.
func HasEnded(pod openapi.Pod, container string) bool {
	switch pod.Status.Phase { //nolint:exhaustive // in the others a container may run
	case openapi.PodPhaseSucceeded, openapi.PodPhaseFailed:
		return true
	case openapi.PodPhaseStopping:
		return false
	}
	if container == "" && len(pod.Spec.Containers) > 0 { // not an init container
		container = pod.Spec.Containers[0].Name
	}
	for _, s := range pod.Status.Containers {
		if container != "" && s.Name != container || s.State != openapi.ContainerStatusStateExited {
			continue
		}
		switch policyOf(pod.Spec, s.Name) {
		case openapi.Never:
			return true
		case openapi.OnFailure:
			most := maxRestarts(pod.Spec, s.Name)
			return openapi.Value(s.Reason) == "Completed" || most > 0 && s.Restarts >= most
		default:
			return false
		}
	}
	return false
}

// maxRestarts returns how often a container is restarted after a failure, or 0 without a maximum.
func maxRestarts(spec openapi.PodSpec, container string) int {
	for _, c := range slices.Concat(openapi.Value(spec.InitContainers), spec.Containers) {
		if c.Name == container {
			return openapi.Value(c.MaxRestarts)
		}
	}
	return 0
}

// policyOf returns the restart policy of a container.
func policyOf(spec openapi.PodSpec, container string) openapi.RestartPolicy {
	policy := openapi.Value(spec.RestartPolicy)
	for _, c := range openapi.Value(spec.InitContainers) {
		switch {
		case c.Name != container:
		case c.RestartPolicy != nil:
			return *c.RestartPolicy
		case policy == openapi.Always: // an init container that has done its work is not restarted
			return openapi.OnFailure
		}
	}
	for _, c := range spec.Containers {
		if c.Name == container && c.RestartPolicy != nil {
			return *c.RestartPolicy
		}
	}
	return policy
}
