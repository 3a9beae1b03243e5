// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"husk/nodeagent/vm"
)

// Receiver receives a machine.
type Receiver struct {
	// Prepare starts a machine that waits for its memory.
	Prepare func(ctx context.Context, model vm.Model, cookie []byte) (*vm.Incoming, error)
	Logs    string   // the directory for the pod's logs
	Names   []string // of its containers
	// Switch asks the server whether the machine continues here.
	Switch func(ctx context.Context) (bool, error)
}

// Received says how a machine has been received.
type Received struct {
	State    []byte // what the source's agent knew about the pod
	Downtime time.Duration
}

// ErrLost says that the machine was switched to this node, and does not run.
var ErrLost = errors.New("the machine was switched to this node and does not run")

// Receive receives the machine over a connection. It returns an error that is ErrLost if the server has switched the pod, and the machine is lost. After
// any other error, the machine is not here.
func (r Receiver) Receive(ctx context.Context, conn net.Conn) (_ *Received, err error) {
	session, err := yamux.Server(conn, config())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer session.Close()                                          //nolint:errcheck // the connection is no longer used
	stop := context.AfterFunc(ctx, func() { _ = session.Close() }) //nolint:errcheck // it only ends the move
	defer stop()
	stream, err := accept(session, messages)
	if err != nil {
		return nil, err
	}
	_ = stream.SetReadDeadline(time.Now().Add(answerTime)) //nolint:errcheck // a stream has deadlines
	m, err := receive(stream)
	if err != nil {
		return nil, err
	}
	if m.Hello == nil || len(m.Hello.Cookie) > vm.MaxCookie {
		return nil, errors.New("the other node does not follow the protocol")
	}
	machine, err := r.Prepare(ctx, m.Hello.Model, m.Hello.Cookie)
	if err != nil {
		return nil, errors.Join(err, send(stream, message{Ready: &ready{Error: err.Error()}}))
	}
	var passing sync.WaitGroup
	defer passing.Wait()
	finished := false
	defer func() {
		if !finished {
			machine.Close()
		}
	}()
	if err := send(stream, message{Ready: &ready{Cookie: machine.Cookie}}); err != nil {
		return nil, err
	}
	defer session.Close() //nolint:errcheck // ends what passes, before the machine
	passing.Go(func() { passOn(ctx, session, machine, &passing) })
	_ = stream.SetReadDeadline(time.Time{}) //nolint:errcheck // the server limits how long memory moves
	p, err := r.untilPaused(stream)
	if err != nil {
		return nil, err
	}
	moved, err := r.Switch(ctx)
	if err != nil || !moved {
		return nil, errors.Join(errors.New("the server has not switched the pod"), err, send(stream, message{Done: &done{Error: "the server has not switched the pod"}}))
	}
	finished = true
	downtime, err := machine.Finish(context.WithoutCancel(ctx), p.Cookie, true)
	if err != nil {
		return nil, errors.Join(ErrLost, err, send(stream, message{Done: &done{Error: err.Error()}}))
	}
	_ = send(stream, message{Done: &done{Moved: true}}) //nolint:errcheck // the source asks the server then
	_, _ = stream.Read(make([]byte, 1))                 //nolint:errcheck // until the source has read it, or a deadline passes
	return &Received{p.State, downtime}, nil
}

// untilPaused receives logs until the machine is paused.
func (r Receiver) untilPaused(stream net.Conn) (*paused, error) {
	w := logWriter{dir: r.Logs, names: r.Names}
	for {
		m, err := receive(stream)
		switch {
		case err != nil:
			return nil, err
		case m.File != nil:
			if err := w.write(*m.File, stream); err != nil {
				return nil, fmt.Errorf("receive the logs: %w", err)
			}
		case m.Paused != nil && len(m.Paused.Cookie) <= vm.MaxCookie:
			_ = stream.SetReadDeadline(time.Now().Add(answerTime)) //nolint:errcheck // a stream has deadlines
			return m.Paused, nil
		default:
			return nil, errors.New("the other node does not follow the protocol")
		}
	}
}

// accept accepts a stream of this kind.
func accept(session *yamux.Session, kind byte) (net.Conn, error) {
	stream, got, err := next(session)
	if err != nil {
		return nil, err
	}
	if got != kind {
		return nil, errors.Join(errors.New("the other node does not follow the protocol"), stream.Close())
	}
	return stream, nil
}

func next(session *yamux.Session) (net.Conn, byte, error) {
	stream, err := session.Accept()
	if err != nil {
		return nil, 0, err
	}
	_ = stream.SetReadDeadline(time.Now().Add(answerTime)) //nolint:errcheck // a stream has deadlines
	var kind [1]byte
	if _, err := io.ReadFull(stream, kind[:]); err != nil {
		return nil, 0, errors.Join(err, stream.Close())
	}
	_ = stream.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	return stream, kind[0], nil
}

// maxStreams is how many connections QEMU may make: one for the memory, and one for each local disk, of which there is one.
const maxStreams = 4

// passOn passes streams on to QEMU's sockets.
func passOn(ctx context.Context, session *yamux.Session, machine *vm.Incoming, passing *sync.WaitGroup) {
	for range maxStreams {
		stream, kind, err := next(session)
		if err != nil {
			return
		}
		to := map[byte]string{memory: machine.Memory, disks: machine.Disks}[kind]
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", to)
		if to == "" || err != nil {
			_ = stream.Close() //nolint:errcheck // the source's QEMU notices it
			continue
		}
		passing.Go(func() { join(stream, conn) })
	}
}
