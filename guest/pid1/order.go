// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"slices"
	"sync"
	"time"

	"husk/guest"
)

// runAll runs the containers in their order and returns when all have ended for good: the init
// containers one after the other, then the others together. Sidecars start among the init
// containers and are ended when the others have ended, the last one first.
func (p *pod) runAll(spec guest.Spec) {
	var sidecars, others sync.WaitGroup
	supervise := func(i int) {
		p.supervise(i, spec)
		p.stdio[spec.Containers[i].Name].close()
	}
	for i, c := range spec.Containers {
		switch {
		case c.Sidecar():
			ended := make(chan struct{})
			sidecars.Go(func() {
				defer close(ended)
				supervise(i)
			})
			p.awaitStarted(c.Name, ended)
		case c.Init:
			others.Go(func() { supervise(i) })
			others.Wait()
			p.mu.Lock()
			if !p.done(i) && p.mayStart(&c) { // the others will never start
				p.endContainers(p.grace())
			}
			p.mu.Unlock()
		default:
			others.Go(func() { supervise(i) })
		}
	}
	others.Wait()
	close(p.over)
	for _, c := range slices.Backward(spec.Containers) {
		if c.Sidecar() {
			p.endSidecar(c.Name)
		}
	}
	sidecars.Wait()
}

// done reports whether an init container has done its work. p.mu is held.
func (p *pod) done(i int) bool {
	s := p.status.Containers[i]
	return s.State == guest.StateExited && !failed(s)
}

// awaitStarted waits until a container has started: its hook has run, and its startup probe has
// succeeded.
func (p *pod) awaitStarted(name string, ended <-chan struct{}) {
	select {
	case <-p.started[name]:
	case <-ended:
	case <-p.stop:
	}
}

func (p *pod) endSidecar(name string) {
	p.mu.Lock()
	r := p.running[name]
	if r != nil {
		p.terminate(r, p.grace(), "", "")
	}
	p.mu.Unlock()
	if r != nil {
		<-r.life.Done()
	}
}

// mayStart reports whether a container may be started or restarted.
func (p *pod) mayStart(c *guest.Container) bool {
	select {
	case <-p.stop:
		return false
	default:
	}
	select {
	case <-p.over:
		return !c.Sidecar()
	default:
		return true
	}
}

// endContainers ends the running containers in the background, prevents starts, and kills what is
// left after grace. runAll ends the sidecars when the others have ended. Another call can only
// shorten the grace. p.mu is held.
func (p *pod) endContainers(grace time.Duration) {
	at := time.Now().Add(grace)
	select {
	case <-p.stop:
		if at.Before(p.killAt) {
			p.killAt = at
			p.killTimer.Reset(grace)
		}
		return
	default:
	}
	close(p.stop)
	p.killAt = at
	for _, r := range p.running {
		if !r.container.Sidecar() {
			p.terminate(r, grace, "", "")
		}
	}
	p.killTimer = time.AfterFunc(grace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.running {
			r.process.kill()
		}
	})
}
