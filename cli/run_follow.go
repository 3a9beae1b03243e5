// SPDX-License-Identifier: Apache-2.0

package cli

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

// follow attaches to the pod's container, which starts only then, and prints its output until it has ended. If the connection of a container
// without input breaks, the rest of the output comes from its log. follow returns [kind.PodEnd].
func (r *runner) follow(ctx context.Context, pod openapi.Pod) error {
	var out printed
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
	case lost && !r.flags.Interactive && !r.flags.Terminal:
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
func (r *runner) attachEarly(ctx context.Context, pod openapi.Pod, out *printed) (openapi.Pod, error) {
	err := r.until(ctx, r.flags.timeout, kind.Pods.Ref(pod), func() (bool, string, error) {
		var err error
		if pod, err = r.client.Pods.Get(ctx, pod.ID); err != nil {
			return false, "", err
		}
		return pod.Status.Phase != openapi.PodPhasePending, print.State(string(pod.Status.Phase), openapi.Value(pod.Status.Message)), nil
	})
	if err != nil {
		return pod, err
	}
	o := client.AttachOptions{Stdin: r.flags.Interactive, Terminal: r.flags.Terminal, Backlog: true}
	for deadline := time.Now().Add(r.flags.timeout); ; {
		if kind.HasEnded(pod) {
			return pod, errOver
		}
		if pod.Status.Phase == openapi.PodPhaseStopping {
			return pod, fmt.Errorf("%s was deleted before it was running", kind.Pods.Ref(pod))
		}
		err := r.attach(ctx, r.client, pod, o, r.flags.keys, false, out)
		if out.begun || !client.HasCode(err, husk.CodeConflict) && !client.HasCode(err, husk.CodeUnavailable) && !client.HasCode(err, husk.CodeNotFound) {
			return pod, err
		}
		// The node does not have the pod yet, its guest still boots, or the container ended just now.
		switch pod, err = r.client.Pods.Get(ctx, pod.ID); {
		case err != nil:
			return pod, err
		case time.Now().After(deadline):
			return pod, exit.TimeoutError{Detail: fmt.Sprintf("%s did not start within %s: it is %s", kind.Pods.Ref(pod), r.flags.timeout,
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

// printed counts what was printed of a session's streams.
type printed struct {
	begun     bool // the session was opened
	out, errs uint64
}

// writer returns a writer that counts what it passes on.
func (p *printed) writer(w io.Writer, count *uint64) io.Writer {
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
func (r *runner) readLog(ctx context.Context, pod openapi.Pod, done *printed) error {
	if pod.Status.Phase == openapi.PodPhaseFailed && kind.ContainerCode(pod) == nil { // it never ran, so there is no log
		return kind.PodFailed(pod)
	}
	skip := *done
	var incomplete error
	for line, err := range r.client.Pods.Logs(ctx, pod.ID, client.LogOptions{Follow: true}) {
		if err != nil {
			return err
		}
		if gap := line.DroppedBytes; skip.take(gap) < gap || line.Dropped > 0 {
			incomplete = errIncomplete
			if _, err := fmt.Fprintf(r.errs, "husk: %s of output are missing here\n", line.Missing()); err != nil {
				return err
			}
		}
		to, skipped := r.out, &skip.out
		if line.Stream == "stderr" {
			to, skipped = r.errs, &skip.errs
		}
		text := line.Text()
		n := min(*skipped, uint64(len(text)))
		*skipped -= n
		if _, err := io.WriteString(to, text[n:]); err != nil {
			return err
		}
	}
	pod, err := r.settled(ctx, pod)
	if err != nil {
		return errors.Join(err, incomplete)
	}
	if err = kind.PodEnd(pod); err == nil || incomplete == nil {
		return errors.Join(err, incomplete)
	}
	return errors.Join(append(each(err), incomplete)...)
}

// take removes bytes that are not in the log from what was printed, and returns how many.
func (p *printed) take(n uint64) uint64 {
	out := min(n, p.out)
	errs := min(n-out, p.errs)
	p.out, p.errs = p.out-out, p.errs-errs
	return out + errs
}

// left returns the error for a container that continues without this program.
func (r *runner) left(why error) error {
	switch {
	case r.flags.Interactive && r.flags.Terminal:
		return leftError{why, "-it "}
	case r.flags.Interactive:
		return leftError{why, "-i "}
	default:
		return leftError{why, ""}
	}
}

// leftError says that a container continues without this program, and why: the user detached (nil), or the connection was lost.
type leftError struct {
	why   error
	flags string // the flags of husk attach for attaching again
}

// Error implements error.
func (e leftError) Error() string {
	if e.why == nil {
		return client.ErrDetached.Error()
	}
	return e.why.Error()
}

// Unwrap implements errors.Unwrap.
func (e leftError) Unwrap() error { return e.why }

// settled waits until the API reports that the pod has ended. The container has ended already; the pod's phase changes a moment later.
func (r *runner) settled(ctx context.Context, pod openapi.Pod) (openapi.Pod, error) {
	return r.client.Pods.Wait(ctx, pod.ID, func(pod openapi.Pod) (bool, error) {
		if pod.Status.Phase == openapi.PodPhaseStopping {
			return false, fmt.Errorf("%s was deleted while it was running", kind.Pods.Ref(pod))
		}
		return kind.HasEnded(pod), nil
	})
}

// isOver reports whether a pod is known to have ended.
func (r *runner) isOver(ctx context.Context, pod openapi.Pod) bool {
	now, err := r.client.Pods.Get(ctx, pod.ID)
	return err == nil && kind.HasEnded(now)
}
