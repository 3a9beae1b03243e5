// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
)

// ErrClientGone says that a relay ended because its client disconnected.
var ErrClientGone = errors.New("the client has disconnected")

// ErrPodGone says that a relay ended because the connection to the pod ended before the session did.
var ErrPodGone = errors.New("the connection to the pod has ended")

// Relay passes frames between a client and a pod until the session has ended (nil), or until one of them has disconnected (ErrClientGone,
// ErrPodGone). It calls moved for each frame. Afterwards the caller closes the pod's end, and then the client's. Closing them also ends a
// running relay. The client may take a while to read the last frames: gone is closed when the client has closed its side. Until then the relay
// drops what the client still sends.
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
	// The pod no longer accepts frames. It may still say why, or how the session ended.
	return left, <-down
}

// fromClient passes on what a client sends until it disconnects. When the pod no longer accepts frames, it reports that to refused once, and drops
// the rest.
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
