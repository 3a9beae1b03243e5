// SPDX-License-Identifier: Apache-2.0

// Package attend follows a pod of husk run from its creation to its end: it attaches to the container before that starts, and reads what is
// missing from the log.
package attend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"husk"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Run is one call of husk run that follows its pod.
type Run struct {
	Client                *client.Client
	Timeout               time.Duration // until the pod has started
	Interactive, Terminal bool          // the container gets input, or a terminal
	Out, Errs             io.Writer
	// Until looks again and again until the answer is yes, and shows the state in the meantime.
	Until func(ctx context.Context, within time.Duration, what string, look func() (bool, string, error)) error
	// Attach connects the container to this program until the session ends, and counts what it prints.
	Attach func(ctx context.Context, pod openapi.Pod, o client.AttachOptions, out *Printed) error
}

// Follow attaches to the pod's container, which starts only then, and prints its output until it has ended. If the connection of a container
// without input breaks, the rest of the output comes from its log. Follow returns [kind.PodEnd].
func (r Run) Follow(ctx context.Context, pod openapi.Pod) error {
	var out Printed
	pod, err := r.attachEarly(ctx, pod, &out)
	_, hasEnded := errors.AsType[*client.ExitError](err)
	lost := client.IsUnreachable(err) || client.HasCode(err, husk.CodeUnavailable) || client.HasCode(err, husk.CodeSessionSlow) || client.HasCode(err, husk.CodeSessionIdle)
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, client.ErrDetached):
		return r.left(nil)
	case errors.Is(err, errOver): // it ended before husk could attach, or never ran
		return r.readLog(ctx, pod, &out)
	case lost && !r.Interactive && !r.Terminal:
		return r.readLog(ctx, pod, &out)
	case lost && !r.isOver(ctx, pod):
		return r.left(err)
	case err != nil && !hasEnded:
		return err
	}
	pod, settling := r.settled(ctx, pod)
	if settling != nil {
		return errors.Join(err, settling)
	}
	return kind.PodEnd(pod)
}

// errOver says that a container has ended before this program was attached to it.
var errOver = errors.New("the container has ended")

// attachEarly waits until the pod has a node, and attaches to its container.
func (r Run) attachEarly(ctx context.Context, pod openapi.Pod, out *Printed) (openapi.Pod, error) {
	err := r.Until(ctx, r.Timeout, kind.Pods.Ref(pod), func() (bool, string, error) {
		var err error
		if pod, err = r.Client.Pods.Get(ctx, pod.ID); err != nil {
			return false, "", err
		}
		return pod.Status.Phase != openapi.PodPhasePending, print.State(string(pod.Status.Phase), openapi.Value(pod.Status.Message)), nil
	})
	if err != nil {
		return pod, err
	}
	o := client.AttachOptions{Stdin: r.Interactive, Terminal: r.Terminal, Backlog: true}
	for deadline := time.Now().Add(r.Timeout); ; {
		if kind.HasEnded(pod) {
			return pod, errOver
		}
		if pod.Status.Phase == openapi.PodPhaseStopping {
			return pod, fmt.Errorf("%s was deleted before it was running", kind.Pods.Ref(pod))
		}
		err := r.Attach(ctx, pod, o, out)
		if out.Begun || !client.HasCode(err, husk.CodeConflict) && !client.HasCode(err, husk.CodeUnavailable) && !client.HasCode(err, husk.CodeNotFound) {
			return pod, err
		}
		// The node does not have the pod yet, its guest still boots, or the container ended just now.
		switch pod, err = r.Client.Pods.Get(ctx, pod.ID); {
		case err != nil:
			return pod, err
		case time.Now().After(deadline):
			return pod, exit.TimeoutError{Detail: fmt.Sprintf("%s did not start within %s: it is %s", kind.Pods.Ref(pod), r.Timeout,
				print.State(string(pod.Status.Phase), openapi.Value(pod.Status.Message)))}
		}
		select {
		case <-ctx.Done():
			return pod, ctx.Err()
		case <-time.After(attachPause):
		}
	}
}

// attachPause is the time between two attempts to attach to a pod that is starting.
const attachPause = 300 * time.Millisecond

// Printed counts what was printed of a session's streams.
type Printed struct {
	Begun     bool // the session was opened
	Out, Errs uint64
}

// Writer returns a writer that counts what it passes on.
func (p *Printed) Writer(w io.Writer, count *uint64) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		n, err := w.Write(b)
		*count += uint64(n)
		return n, err
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// errIncomplete says that the output that this program has printed is not all that the container has written.
var errIncomplete = errors.New("the output above is incomplete; the messages in it say how much is missing where")

// readLog prints the log of the pod's container without what was printed already, until the container has ended, and returns [kind.PodEnd].
func (r Run) readLog(ctx context.Context, pod openapi.Pod, done *Printed) error {
	if pod.Status.Phase == openapi.PodPhaseFailed && kind.ContainerCode(pod) == nil { // it never ran, so there is no log
		return kind.PodFailed(pod)
	}
	skip := *done
	var incomplete error
	for line, err := range r.Client.Pods.Logs(ctx, pod.ID, client.LogOptions{Follow: true}) {
		if err != nil {
			return err
		}
		if gap := line.DroppedBytes; skip.take(gap) < gap || line.Dropped > 0 {
			incomplete = errIncomplete
			if _, err := fmt.Fprintf(r.Errs, "husk: %s of output are missing here\n", line.Missing()); err != nil {
				return err
			}
		}
		to, skipped := r.Out, &skip.Out
		if line.Stream == "stderr" {
			to, skipped = r.Errs, &skip.Errs
		}
		text := line.Text()
		n := min(*skipped, uint64(len(text)))
		*skipped -= n
		if _, err := io.WriteString(to, text[n:]); err != nil {
			return err
		}
	}
	pod, err := r.settled(ctx, pod)
	if err == nil {
		err = kind.PodEnd(pod)
	}
	return errors.Join(err, incomplete)
}

// take removes bytes that are not in the log from what was printed, and returns how many.
func (p *Printed) take(n uint64) uint64 {
	out := min(n, p.Out)
	errs := min(n-out, p.Errs)
	p.Out, p.Errs = p.Out-out, p.Errs-errs
	return out + errs
}

// left returns the error for a container that continues without this program.
func (r Run) left(why error) error {
	switch {
	case r.Interactive && r.Terminal:
		return LeftError{why, "-it "}
	case r.Interactive:
		return LeftError{why, "-i "}
	default:
		return LeftError{why, ""}
	}
}

// LeftError says that a container continues without this program, and why: the user detached (nil), or the connection was lost.
type LeftError struct {
	Why   error
	Flags string // the flags of husk attach for attaching again
}

// Error implements error.
func (e LeftError) Error() string {
	if e.Why == nil {
		return client.ErrDetached.Error()
	}
	return e.Why.Error()
}

// Unwrap implements errors.Unwrap.
func (e LeftError) Unwrap() error { return e.Why }

// settled waits until the API reports that the pod has ended. The container has ended already; the pod's phase changes a moment later.
func (r Run) settled(ctx context.Context, pod openapi.Pod) (openapi.Pod, error) {
	return r.Client.Pods.Wait(ctx, pod.ID, func(pod openapi.Pod) (bool, error) {
		if pod.Status.Phase == openapi.PodPhaseStopping {
			return false, fmt.Errorf("%s was deleted while it was running", kind.Pods.Ref(pod))
		}
		return kind.HasEnded(pod), nil
	})
}

// isOver reports whether a pod is known to have ended.
func (r Run) isOver(ctx context.Context, pod openapi.Pod) bool {
	now, err := r.Client.Pods.Get(ctx, pod.ID)
	return err == nil && kind.HasEnded(now)
}
