//go:build linux

package pid1

import (
	"context"
	"fmt"
	"slices"

	"husk/guest"
	"husk/session"
)

// inside finds a container that runs now.
func (p *pod) inside(name string) (guest.Container, process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.spec.Containers {
		if c.Name != name {
			continue
		}
		if r := p.running[name]; r != nil && !p.stopping {
			return c, r.process, nil
		}
		return c, nil, &guest.CallError{Code: guest.CodeNotRunning, Message: fmt.Sprintf("container %s does not run now", name)}
	}
	return guest.Container{}, nil, &guest.CallError{Code: guest.CodeNotFound, Message: fmt.Sprintf("no container %q", name)}
}

func (p *pod) Exec(_ context.Context, e guest.Exec, accept guest.Accept) error {
	c, in, err := p.inside(e.Container)
	if err != nil {
		return err
	}
	return p.machine.exec(c, in, e, accept)
}

func (p *pod) Forward(_ context.Context, port int, accept guest.Accept) error {
	p.mu.Lock()
	network := p.spec.Network
	p.mu.Unlock()
	return p.machine.forward(network, port, accept)
}

func (p *pod) CopyOut(_ context.Context, what guest.Copy, accept guest.Accept) error {
	_, in, err := p.inside(what.Container)
	if err != nil {
		return err
	}
	return p.machine.copyOut(in, what, accept)
}

func (p *pod) CopyIn(_ context.Context, where guest.Copy, accept guest.Accept) error {
	c, in, err := p.inside(where.Container)
	if err != nil {
		return err
	}
	return p.machine.copyIn(c, in, where, accept)
}

func (p *pod) Stats() guest.Stats {
	p.mu.Lock()
	running := map[string]process{}
	for name, r := range p.running {
		running[name] = r.process
	}
	p.mu.Unlock()
	s := p.machine.stats(running)
	s.BootID = p.bootID
	return s
}

// Attach sends a container's output from now on, over its restarts, until it
// has ended for good, and its last exit code then.
func (p *pod) Attach(ctx context.Context, a guest.Attach, accept guest.Accept) error {
	if _, _, err := p.inside(a.Container); err != nil {
		return err
	}
	p.mu.Lock()
	r := p.rings[a.Container]
	p.mu.Unlock()
	after := r.last()
	conn, err := accept()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		defer conn.Close()
		for {
			f, err := conn.Receive()
			if err != nil {
				return
			}
			if f.Kind == session.Signal {
				p.signalContainer(a.Container, string(f.Payload))
			}
		}
	}()
	err = r.copyTo(ctx, after, true, func(entries []guest.LogEntry) error {
		for _, e := range entries {
			kind, line := session.Stdout, e.Line
			if e.Stream == guest.Stderr {
				kind = session.Stderr
			}
			if !e.Partial {
				line = append(slices.Clip(line), '\n')
			}
			if err := conn.Send(kind, line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil // the client has gone
	}
	session.SendExit(conn, p.lastExit(a.Container))
	return nil
}

func (p *pod) signalContainer(name, signal string) {
	n, err := guest.ParseSignal(signal)
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
