// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/yamux"

	"husk/nodeagent/vm"
)

// Sender moves a machine away.
type Sender struct {
	VMs     *vm.Manager
	Pod     uuid.UUID
	Sockets string // the directory for the sockets of QEMU, which is made
	Logs    string // the directory with the pod's logs
	// Dial connects to the other node's agent.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Sent is a machine that is paused here, and whose whole memory is on the other node.
type Sent struct {
	machine *vm.Outgoing
	cookie  []byte
	link    *link
	files   *files
	passing *sync.WaitGroup
}

// link is the connection of the two agents.
type link struct {
	session  *yamux.Session
	messages net.Conn
}

func (l *link) close() { _ = errors.Join(l.messages.Close(), l.session.Close()) } //nolint:errcheck // the connection is no longer used

// Send moves the memory. After an error, the machine runs, or continues when [vm.Manager.Continue] is called.
func (s Sender) Send(ctx context.Context) (_ *Sent, err error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(conn, config())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = session.Close() }) //nolint:errcheck // it only ends the move
	defer stop()
	stream, err := open(session, messages)
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	sent := &Sent{link: &link{session, stream}, files: newFiles(s.Logs), passing: &sync.WaitGroup{}}
	defer func() {
		if err != nil {
			sent.link.close()
		}
	}()
	machine, err := s.VMs.Send(ctx, s.Pod)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // the machine has not left
			err = errors.Join(err, machine.Confirm(context.WithoutCancel(ctx), false))
		}
	}()
	if err := send(stream, message{Hello: &hello{machine.Model, machine.Cookie}}); err != nil {
		return nil, err
	}
	if err := sent.files.send(stream); err != nil {
		return nil, fmt.Errorf("send the logs: %w", err)
	}
	_ = stream.SetReadDeadline(time.Now().Add(answerTime)) //nolint:errcheck // a stream has deadlines
	answer, err := receive(stream)
	if err != nil {
		return nil, err
	}
	if answer.Ready == nil || answer.Ready.Error != "" || len(answer.Ready.Cookie) > vm.MaxCookie {
		return nil, refused(answer)
	}
	user, err := s.VMs.SendDir(ctx, s.Pod, s.Sockets)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.Sockets) //nolint:errcheck // the agent removes it with the pod
	paths := map[byte]string{}
	for _, kind := range []byte{memory, disks} {
		paths[kind] = filepath.Join(s.Sockets, string(kind))
		listener, err := listenFor(paths[kind], user)
		if err != nil {
			return nil, err
		}
		defer listener.Close() //nolint:errcheck // it only ends the loop
		sent.passing.Go(func() { pass(listener, session, kind, sent.passing) })
	}
	if sent.cookie, err = machine.Perform(ctx, answer.Ready.Cookie, paths[memory], paths[disks]); err != nil {
		_ = session.Close() //nolint:errcheck // QEMU's connections end
		return nil, err
	}
	sent.machine = machine
	return sent, nil
}

func refused(m message) error {
	if m.Ready != nil && m.Ready.Error != "" {
		return fmt.Errorf("the other node cannot receive the machine: %.300s", m.Ready.Error)
	}
	return errors.New("the other node does not follow the protocol")
}

func open(session *yamux.Session, kind byte) (net.Conn, error) {
	stream, err := session.Open()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte{kind}); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

// listenFor makes a socket for the user of a machine.
func listenFor(path string, user int) (net.Listener, error) {
	listener, err := net.Listen("unix", path) //nolint:noctx // it does not wait
	if err != nil {
		return nil, err
	}
	if err := os.Chown(path, user, user); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// pass passes QEMU's connections on to the other node.
func pass(listener net.Listener, session *yamux.Session, kind byte, passing *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		stream, err := open(session, kind)
		if err != nil {
			_ = conn.Close() //nolint:errcheck // QEMU notices it
			continue
		}
		passing.Go(func() { join(conn, stream) })
	}
}

// Hand tells the other node that the machine is paused, with the rest of the logs and with what this agent knows about the pod. It returns nil if the
// other node says that the machine runs there. Only the server knows whether that is true.
func (s *Sent) Hand(ctx context.Context, state []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = s.link.session.Close() }) //nolint:errcheck // it only ends the move
	defer stop()
	if err := s.files.send(s.link.messages); err != nil {
		return fmt.Errorf("send the logs: %w", err)
	}
	if err := send(s.link.messages, message{Paused: &paused{s.cookie, state}}); err != nil {
		return err
	}
	_ = s.link.messages.SetReadDeadline(time.Now().Add(answerTime)) //nolint:errcheck // a stream has deadlines
	m, err := receive(s.link.messages)
	if err != nil {
		return err
	}
	if m.Done == nil || !m.Done.Moved {
		text := "it does not follow the protocol"
		if m.Done != nil {
			text = m.Done.Error
		}
		return fmt.Errorf("the machine does not run on the other node: %.300s", text)
	}
	return nil
}

// End ends the machine here, or lets it continue.
func (s *Sent) End(ctx context.Context, moved bool) error {
	s.link.close()
	err := s.machine.Confirm(ctx, moved)
	s.passing.Wait()
	return err
}

// Forget leaves the machine paused.
func (s *Sent) Forget() {
	s.link.close()
	s.machine.Close()
}
