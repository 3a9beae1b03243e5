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
// ErrPodGone). moved is called for each frame. The caller closes the pod's end afterwards, and then the client's, which is also how a relay is
// ended from outside. What the client was sent last it may take a while to read: gone is closed when it has closed its side. Until then what it
// still sends is dropped.
func Relay(client, pod Conn, moved func()) (gone <-chan struct{}, err error) {
	up, down, left := make(chan error, 2), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(left)
		up <- fmt.Errorf("%w: %w", ErrClientGone, fromClient(client, pod, moved, up))
	}()
	go func() { down <- toClient(pod, client, moved) }()
	select {
	case err := <-down:
		return left, err
	case err := <-up:
		if errors.Is(err, ErrClientGone) {
			return left, err
		}
	}
	// The pod takes no more. It may still say why, or how the session ended.
	return left, <-down
}

// fromClient passes on what a client sends until it has gone. What the pod does not take any more, it says to refused once, and drops.
func fromClient(client, pod Conn, moved func(), refused chan<- error) error {
	for deaf := false; ; {
		f, err := client.Receive()
		if err != nil {
			return err
		}
		if !f.Kind.FromClient() {
			return ErrKind
		}
		moved()
		if deaf {
			continue
		}
		if err := pod.Send(f.Kind, f.Payload); err != nil {
			deaf = true
			refused <- fmt.Errorf("%w: %w", ErrPodGone, err)
		}
	}
}

// toClient passes on what a pod sends until the final frame.
func toClient(pod, client Conn, moved func()) error {
	for {
		f, err := pod.Receive()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPodGone, err)
		}
		if !f.Kind.FromPod() {
			return fmt.Errorf("%w: %w", ErrPodGone, ErrKind)
		}
		moved()
		if err := client.Send(f.Kind, f.Payload); err != nil {
			return fmt.Errorf("%w: %w", ErrClientGone, err)
		}
		if f.Kind.Final() {
			return nil
		}
	}
}
