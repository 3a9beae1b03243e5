package session

import (
	"errors"
	"fmt"
)

// ErrClientGone says that a relay has ended because its client has.
var ErrClientGone = errors.New("the client has gone")

// ErrPodGone says that a relay has ended because the way to the pod has, before the session was over.
var ErrPodGone = errors.New("the connection to the pod has ended")

// Relay passes frames on between a client and a pod until the session is over (nil), or one of them has gone (ErrClientGone,
// ErrPodGone). moved is called for each frame. The caller closes both ends afterwards in any case, which is also how a relay is ended from
// outside.
func Relay(client, pod Conn, moved func()) error {
	up, down := make(chan error, 1), make(chan error, 1)
	go func() { up <- pass(client, pod, Kind.FromClient, moved) }()
	go func() { down <- pass(pod, client, Kind.FromPod, moved) }()
	var err error
	select {
	case err = <-down:
		if err != nil {
			if side, ok := errors.AsType[sideError](err); ok && side.writing {
				err = fmt.Errorf("%w: %w", ErrClientGone, side.err)
			} else {
				err = fmt.Errorf("%w: %w", ErrPodGone, err)
			}
		}
		return err
	case err = <-up:
		side, ok := errors.AsType[sideError](err)
		if !ok || !side.writing {
			return fmt.Errorf("%w: %w", ErrClientGone, err)
		}
	}
	// The pod takes no more. It may still say why, or how the session ended.
	if err := <-down; err != nil {
		return fmt.Errorf("%w: %w", ErrPodGone, err)
	}
	return nil
}

// sideError tells which side of a pass has failed.
type sideError struct {
	writing bool
	err     error
}

func (e sideError) Error() string { return e.err.Error() }
func (e sideError) Unwrap() error { return e.err }

// pass copies frames until the final one, which ends it without an error.
func pass(from, to Conn, allowed func(Kind) bool, moved func()) error {
	for {
		f, err := from.Receive()
		if err != nil {
			return sideError{false, err}
		}
		if !allowed(f.Kind) {
			return sideError{false, ErrKind}
		}
		moved()
		if err := to.Send(f.Kind, f.Payload); err != nil {
			return sideError{true, err}
		}
		if f.Kind.Final() {
			return nil
		}
	}
}
