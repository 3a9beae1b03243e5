// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"fmt"

	"husk/guest"
	"husk/session"
	"husk/signals"
)

// Attach sends a container's new output, across its restarts. If the client requests the backlog,
// Attach sends that first. When the container has ended for good, it sends the last exit code. It also
// passes on input.
func (p *pod) Attach(ctx context.Context, a guest.Attach, accept guest.Accept) error {
	p.mu.Lock()
	s := p.stdio[a.Container]
	p.mu.Unlock()
	c, _, err := p.inside(a.Container)
	if err != nil && (s == nil || !p.awaitsClient(a.Container)) {
		return err
	}
	if err := fits(a, c, s); err != nil {
		return err
	}
	r, backlog := s.join()
	defer s.leave(r)
	conn, err := accept()
	if err != nil {
		return nil
	}
	if a.TTY {
		s.resize(a.Size, !a.Backlog)
	}
	if !a.Backlog {
		backlog = nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		defer conn.Close() // unblocks senders to a client that has gone
		if a.Stdin && c.StdinOnce && !c.TTY {
			defer s.endInput()
		}
		p.takeInput(conn, a, c, s)
	}()
	sent, late := sendOutput(ctx, conn, r, backlog, s.over)
	switch {
	case !sent: // the client has gone
		return nil
	case late:
		return &guest.CallError{Code: guest.CodeSlow, Message: fmt.Sprintf("the client read no output for %s and was disconnected; attach again and read the missed output in the log", outputHold)}
	}
	session.SendExit(conn, p.lastExit(a.Container))
	return nil
}

// awaitsClient reports whether the container starts when a client attaches.
func (p *pod) awaitsClient(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.spec.Containers {
		if c.Name == name {
			s := p.status.Containers[i]
			return c.StartOnAttach && s.State == guest.StateWaiting && s.StartedAt.IsZero() && !p.stopping
		}
	}
	return false
}

// fits returns an error if the container does not have what the attach request needs.
func fits(a guest.Attach, c guest.Container, s *stdio) error {
	var problem string
	switch {
	case a.Stdin && !c.Stdin:
		problem = "takes no input, because it was created without stdin"
	case a.TTY && !c.TTY:
		problem = "has no terminal, because it was created without tty"
	case a.Stdin && s.inputEnded():
		problem = "no longer takes input, because it was created with stdinOnce and the first client with stdin has ended it; attach without stdin"
	default:
		return nil
	}
	return &guest.CallError{Code: guest.CodeNoInput, Message: fmt.Sprintf("container %s %s", c.Name, problem)}
}

// takeInput receives the client's input until the stream ends.
func (p *pod) takeInput(conn session.Conn, a guest.Attach, c guest.Container, s *stdio) {
	for {
		f, err := conn.Receive()
		if err != nil {
			return
		}
		switch f.Kind {
		case session.Stdin:
			if a.Stdin && !s.write(conn, f.Payload) {
				return
			}
		case session.EOF:
			if a.Stdin && c.StdinOnce && !c.TTY {
				s.endInput()
			}
		case session.Resize:
			if size, err := session.ParseSize(f.Payload); err == nil && a.TTY {
				s.resize(size, false)
			}
		case session.Signal:
			p.signalContainer(a.Container, string(f.Payload))
		default:
			return
		}
	}
}

// sendOutput sends a reader's output until there will be no further output, or the reader was
// disconnected (late). sent is false if the client has gone.
func sendOutput(ctx context.Context, conn session.Conn, r *reader, backlog []piece, over <-chan struct{}) (sent, late bool) {
	for _, p := range backlog {
		if conn.Send(p.kind, p.bytes) != nil {
			return false, false
		}
	}
	for {
		select {
		case p := <-r.pieces:
			if conn.Send(p.kind, p.bytes) != nil {
				return false, false
			}
			continue
		case <-ctx.Done():
			return false, false
		case <-r.late:
			late = true
		case <-over:
		}
		for { // the pieces that still wait
			select {
			case p := <-r.pieces:
				if conn.Send(p.kind, p.bytes) != nil {
					return false, false
				}
			default:
				return true, late
			}
		}
	}
}

func (p *pod) signalContainer(name, signal string) {
	n, err := signals.Parse(signal)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.running[name]; r != nil {
		r.process.signal(n)
	}
}

func (p *pod) lastExit(name string) session.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.status.Containers {
		if c.Name == name {
			return session.Status{Code: c.ExitCode, Signal: c.Signal}
		}
	}
	return session.Status{}
}
