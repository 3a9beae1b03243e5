package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"husk"
	"husk/openapi"
)

// logLine is one line of a container's output, as application/x-ndjson has it.
type logLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`
	Line    string    `json:"line"`
	Partial bool      `json:"partial"` // the line goes on in the next one
	Dropped uint64    `json:"dropped"` // so many lines before it are lost
	Cursor  string    `json:"cursor"`  // behind which another request goes on
}

// text is the line as the container wrote it.
func (l logLine) text() string {
	if l.Partial {
		return l.Line
	}
	return l.Line + "\n"
}

// follower reads a log as it grows. It knows how far it has come, so that one that breaks off is opened again, at whatever server, and no
// line is printed twice: each has a cursor.
type follower struct {
	pod       openapi.Pod
	container *string
	tail      *int // of the first time only
	since     *time.Time
	print     func(logLine) error

	last  *string // cursor of the last line
	count int     // of lines that were read
	read  bool
}

// maxLogLine bounds one line of the stream; the agent cuts lines far below.
const maxLogLine = 1 << 20

// once reads until the log ends, or its connection does, which is an error.
func (f *follower) once(ctx context.Context, c *openapi.Client, follow bool) error {
	accept := "application/x-ndjson"
	params := openapi.GetPodLogsParams{Container: f.container, Follow: &follow, Accept: &accept, Since: f.since, After: f.last}
	if !f.read {
		params.Tail = f.tail
	}
	resp, err := c.GetPodLogs(ctx, f.pod.ID, &params)
	if err := checked(resp, err); err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("the log of pod %s is not what the contract says: %w", f.pod.Name, err)
		}
		if err := f.print(l); err != nil {
			return printError{err}
		}
		f.read, f.last = true, given(l.Cursor)
		f.count++
	}
	if err := lines.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("the log of pod %s has a line above %d bytes", f.pod.Name, maxLogLine)
		}
		return unreachableError{fmt.Errorf("the log of pod %s broke off: %w", f.pod.Name, err)}
	}
	return nil
}

// patience is how often a log that breaks off, or is not there, is asked for in a row before its reader is told.
const patience = 12 // about 40 s with backoff: a node's agent that is replaced is back by then

// follow reads until the log ends; a connection that breaks is opened again.
func (f *follower) follow(ctx context.Context, c *openapi.Client) error {
	for attempt := 1; ; attempt++ {
		before := f.count
		err := f.once(ctx, c, true)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if broken, ok := errors.AsType[printError](err); ok {
			return broken.error
		}
		if f.count != before {
			attempt = 1 // it had come further
		}
		if attempt >= patience || !passes(err) {
			return err
		}
		if err := wait(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// toTheEnd follows until the container has ended for good, and returns the pod as it is then. How a stream ends says little: it may end
// with the agent behind it, and may stay open when nothing more can come. So the pod is looked at meanwhile, and when the container is
// over the rest is read.
func (f *follower) toTheEnd(ctx context.Context, c *openapi.Client) (openapi.Pod, error) {
	for attempt := 1; ; attempt++ {
		count := f.count
		pod, err := f.whileRunning(ctx, c)
		if err != nil {
			return f.pod, err
		}
		f.pod = pod
		if f.over() {
			err := f.once(ctx, c, false)
			if broken, ok := errors.AsType[printError](err); ok {
				return pod, broken.error
			}
			if ctx.Err() != nil {
				return pod, ctx.Err()
			}
			return pod, nil // the log may have gone with the pod
		}
		if f.count != count {
			attempt = 1
		}
		if err := wait(ctx, backoff(attempt)); err != nil {
			return pod, err
		}
	}
}

// lookEvery is how often the pod is looked at beside its log.
const lookEvery = time.Second

// whileRunning follows until the stream ends or the container is over, and returns the pod as it was last seen.
func (f *follower) whileRunning(ctx context.Context, c *openapi.Client) (openapi.Pod, error) {
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	type look struct {
		pod openapi.Pod
		err error
	}
	looked := make(chan look, 1)
	pod, container := f.pod, f.container
	go func() {
		for {
			seen, err := answer[openapi.Pod](c.GetPod(ctx, pod.ID))
			_, unreachable := errors.AsType[unreachableError](err)
			mayBeThere := unreachable && streaming.Err() == nil // the stream, though the API is not
			if !mayBeThere && (err != nil || isOver(seen, container) || streaming.Err() != nil) {
				stop()
				looked <- look{seen, err}
				return
			}
			_ = wait(streaming, lookEvery) //nolint:errcheck // its end is looked at in the next round
		}
	}()
	err := f.follow(streaming, c)
	stopped := streaming.Err() != nil
	stop()
	seen := <-looked
	switch {
	case ctx.Err() != nil:
		return pod, ctx.Err()
	case err != nil && !stopped:
		return pod, err
	default:
		return seen.pod, seen.err
	}
}

// over tells whether the container writes no more.
func (f *follower) over() bool { return isOver(f.pod, f.container) }

func isOver(pod openapi.Pod, container *string) bool {
	if ended(pod) || pod.Status.Phase == openapi.PodPhaseStopping {
		return true
	}
	for _, s := range pod.Status.Containers {
		if container != nil && s.Name != *container || s.State != openapi.ContainerStatusStateExited {
			continue
		}
		policy := value(pod.Spec.RestartPolicy)
		return policy == openapi.Never || policy == openapi.OnFailure && value(s.ExitCode) == 0
	}
	return false
}

// passes tells whether a log may be there soon.
func passes(err error) bool {
	_, unreachable := errors.AsType[unreachableError](err)
	return unreachable || hasCode(err, husk.CodeLogsUnavailable) || hasCode(err, husk.CodeUnavailable)
}

// printTo writes what containers wrote to the same streams here.
func printTo(out, errs io.Writer) func(logLine) error {
	return func(l logLine) error {
		w := out
		if l.Stream == "stderr" {
			w = errs
		}
		_, err := io.WriteString(w, l.text())
		return err
	}
}
