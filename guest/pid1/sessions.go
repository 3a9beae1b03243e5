// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/archive"
	"husk/guest/become"
)

// inside returns a running container.
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
		return c, nil, &guest.CallError{Code: guest.CodeNotRunning, Message: fmt.Sprintf("container %s is not running", name)}
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

// Signal sends a signal to the first process of a container. SIGKILL ends the whole container.
func (p *pod) Signal(container string, signal int) error {
	_, in, err := p.inside(container)
	if err != nil {
		return err
	}
	if signal == int(unix.SIGKILL) {
		in.kill()
		return nil
	}
	in.signal(signal)
	return nil
}

func (p *pod) Stats() guest.Stats {
	p.mu.Lock()
	running := map[string]process{}
	for name, r := range p.running {
		running[name] = r.process
	}
	sets := p.clockSets // before the clock is read
	p.mu.Unlock()
	s := p.machine.stats(running)
	s.BootID, s.ClockSets = p.bootID, sets
	return s
}

func (l *linux) copyOut(in process, what guest.Copy, accept guest.Accept) error {
	k, ok := in.(*child)
	if !ok {
		return errors.New("not a container of this machine")
	}
	return asCall(k.inside(func() error { return archive.Out(what, accept) }))
}

func (l *linux) copyIn(c guest.Container, in process, where guest.Copy, accept guest.Accept) error {
	k, ok := in.(*child)
	if !ok {
		return errors.New("not a container of this machine")
	}
	return asCall(k.inside(func() error {
		return archive.In(where, func() (uid, gid int, err error) {
			who, err := become.LookUpUser(c.User)
			if err != nil {
				return 0, 0, err
			}
			return who.Uid, who.Gid, nil
		}, accept)
	}))
}
