package main

import (
	"context"
	"errors"

	"husk"
	"husk/openapi"
)

// leftError says that a container that was run goes on without this program, and why: its terminal was left (nil), or the session was lost.
type leftError struct {
	why   error
	flags string // of husk attach, to come back
}

func (e leftError) Error() string {
	if e.why == nil {
		return errDetached.Error()
	}
	return e.why.Error()
}

func (e leftError) Unwrap() error { return e.why }

// interact waits for a pod's start, joins its container, whose output until then comes first, and ends as it does.
func (a *app) interact(ctx context.Context, c *openapi.Client, pod openapi.Pod, f runFlags) error {
	pod, err := a.untilStarted(ctx, c, pod, f.timeout)
	if err != nil {
		return err
	}
	if ended(pod) { // before anybody could join it: it did not wait for input
		return a.attend(ctx, c, pod, f.timeout)
	}
	keys, err := parseDetachKeys(f.keys)
	if err != nil {
		return err
	}
	params := openapi.AttachToPodParams{Stdin: given(f.interactive), Tty: given(f.tty), Backlog: new(true)}
	back := ""
	switch {
	case f.interactive && f.tty:
		back = "-it "
	case f.interactive:
		back = "-i "
	}
	if f.tty {
		params.Cols, params.Rows = a.sides()
	}
	err = a.attach(ctx, c, pod, params, keys, false)
	_, hasEnded := errors.AsType[containerError](err)
	_, lost := errors.AsType[unreachableError](err)
	switch {
	case errors.Is(err, errDetached):
		return leftError{nil, back}
	case err != nil && !hasEnded && !hasCode(err, husk.CodeConflict) && a.isOver(ctx, c, pod):
		return err // and the end of its output is in the log
	case lost || hasCode(err, husk.CodeUnavailable) || hasCode(err, husk.CodeSessionSlow) || hasCode(err, husk.CodeSessionIdle):
		return leftError{err, back}
	case hasCode(err, husk.CodeConflict): // it has ended meanwhile, and nothing of it was printed
		return a.attend(ctx, c, pod, f.timeout)
	case err != nil && !hasEnded, f.remove:
		return err
	}
	_, settle := a.settled(ctx, c, pod)
	return errors.Join(err, settle)
}

// isOver tells whether a pod is known to have ended.
func (*app) isOver(ctx context.Context, c *openapi.Client, pod openapi.Pod) bool {
	now, err := answer[openapi.Pod](c.GetPod(ctx, pod.ID))
	return err == nil && ended(now)
}
