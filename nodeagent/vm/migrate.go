// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
)

// The steps of a migration, of which each node's agent does its own at its own libvirtd:
//
//	source                      destination
//	Send (begin)      cookie ▶
//	                  ◀ cookie  Receive (prepare: QEMU waits for the memory)
//	Perform           memory ▶
//	                  cookie ▶  Finish (the machine runs)
//	Confirm (the old one ends)
//
// The destination describes the machine itself. What it takes from the other node is the model, which it checks, and libvirt's cookies.

const (
	// moveSteps is how long memory may move. The server cancels a move earlier.
	moveSteps = 15 * time.Minute
	// MaxCookie is the largest cookie, in bytes. libvirt's have about 2 KB.
	MaxCookie = 64 << 10
)

const moveFlags = golibvirt.MigrateLive | golibvirt.MigrateAbortOnError | golibvirt.MigrateAutoConverge | golibvirt.MigrateChangeProtection

// Outgoing is a machine whose memory moves away.
type Outgoing struct {
	Model  Model
	Cookie []byte // for the destination

	m     *Manager
	pod   uuid.UUID
	rpc   *rpc
	dom   golibvirt.Domain
	flags golibvirt.DomainMigrateFlags
	disks []golibvirt.TypedParam
}

// Send begins to move a machine away. Nothing has changed for the machine yet.
func (m *Manager) Send(ctx context.Context, pod uuid.UUID) (*Outgoing, error) {
	end, err := m.turns.take(ctx, pod)
	if err != nil {
		return nil, err
	}
	defer end()
	r, err := dialRPC(ctx, m.cfg.URI)
	if err != nil {
		return nil, err
	}
	o := &Outgoing{m: m, pod: pod, rpc: r, flags: moveFlags}
	err = r.within(ctx, callTimeout, func() (err error) {
		if o.dom, err = r.find(pod); err != nil {
			return err
		}
		text, err := r.DomainGetXMLDesc(o.dom, 0)
		if err != nil {
			return fmt.Errorf("describe the domain of pod %s: %w", pod, err)
		}
		var local []string
		if o.Model, local, err = modelOf(text); err != nil {
			return err
		}
		for _, dev := range local {
			o.flags |= golibvirt.MigrateNonSharedDisk
			o.disks = append(o.disks, param(golibvirt.MigrateParamMigrateDisks, dev))
		}
		if o.Cookie, _, err = r.DomainMigrateBegin3Params(o.dom, o.disks, uint32(o.flags)); err != nil {
			return fmt.Errorf("begin to move the domain of pod %s: %w", pod, err)
		}
		return nil
	})
	if err != nil {
		r.close()
		return nil, err
	}
	return o, nil
}

// Perform sends the memory, and the contents of local disks, to these sockets. When it returns without an error, the machine is paused, and only
// Confirm continues or ends it. With an error, the machine runs.
func (o *Outgoing) Perform(ctx context.Context, cookie []byte, memory, disks string) (out []byte, _ error) {
	end, err := o.m.turns.take(ctx, o.pod)
	if err != nil {
		return nil, err
	}
	defer end()
	params := append([]golibvirt.TypedParam{param(golibvirt.MigrateParamURI, "unix://"+memory)}, o.disks...)
	if len(o.disks) > 0 {
		params = append(params, param(golibvirt.MigrateParamDisksURI, "unix://"+disks))
	}
	stop := context.AfterFunc(ctx, func() { _ = o.rpc.DomainAbortJob(o.dom) }) //nolint:errcheck // the job may have ended
	defer stop()
	err = o.rpc.within(context.WithoutCancel(ctx), moveSteps, func() (err error) {
		out, err = o.rpc.DomainMigratePerform3Params(o.dom, nil, params, cookie, o.flags)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("move the memory of pod %s: %w", o.pod, err)
	}
	return out, nil
}

// Confirm ends the machine, because it runs on the other node, or lets it continue, because it does not and never will.
func (o *Outgoing) Confirm(ctx context.Context, moved bool) error {
	defer o.rpc.close()
	end, err := o.m.turns.take(ctx, o.pod)
	if err != nil {
		return err
	}
	defer end()
	err = o.rpc.within(ctx, startTimeout, func() error {
		return o.rpc.DomainMigrateConfirm3Params(o.dom, nil, nil, uint32(o.flags), canceled(!moved))
	})
	if err != nil {
		return fmt.Errorf("end the move of pod %s: %w", o.pod, err)
	}
	return nil
}

// Close forgets a move without ending it. A machine whose memory has left stays paused.
func (o *Outgoing) Close() { o.rpc.close() }

func canceled(yes bool) int32 {
	if yes {
		return 1
	}
	return 0
}

// Continue lets a machine run whose move was canceled: it aborts what an earlier agent has begun, and continues a machine that this has paused.
func (m *Manager) Continue(ctx context.Context, pod uuid.UUID) error {
	return m.change(ctx, pod, "continue the machine", func(dom *libvirt.Domain) error {
		_ = dom.AbortJob() //nolint:errcheck // there may be none
		state, _, err := dom.GetState()
		if err == nil && state == libvirt.DOMAIN_PAUSED {
			err = dom.Resume()
		}
		return err
	})
}

// Incoming is a machine that waits for its memory.
type Incoming struct {
	Cookie        []byte // for the source
	Memory, Disks string // the sockets on which QEMU expects them

	m     *Manager
	pod   uuid.UUID
	rpc   *rpc
	name  string
	flags golibvirt.DomainMigrateFlags
}

// Receive starts a machine that waits for its memory. Its sockets are in dir, which is made for it. After an error, Destroy removes what is left.
func (m *Manager) Receive(ctx context.Context, spec Spec, model Model, cookie []byte, dir string) (*Incoming, error) {
	if err := model.Check(m.cfg.Emulate); err != nil {
		return nil, err
	}
	if model.Scratch != (spec.ScratchGiB > 0) {
		return nil, errors.New("only one of the machines has a scratch disk")
	}
	spec.Model = &model
	return callFor(ctx, m, spec.PodID, startTimeout, func(c *libvirt.Connect) (*Incoming, error) {
		if err := letThrough(m.cfg.Emulate); err != nil {
			return nil, fmt.Errorf("let the machines' users through to their files: %w", err)
		}
		user, err := m.users.take(func() (map[uint32]bool, error) { return usedIDs(c) })
		if err != nil {
			return nil, err
		}
		defer m.users.release(user)
		if spec.ScratchGiB > 0 {
			if err := emptyScratch(m.cfg.ScratchDir, spec, user); err != nil {
				return nil, fmt.Errorf("scratch disk of pod %s: %w", spec.PodID, err)
			}
		}
		text, err := domainXML(m.cfg, spec, user)
		if err != nil {
			return nil, fmt.Errorf("describe the domain of pod %s: %w", spec.PodID, err)
		}
		if err := putSecrets(c, spec); err != nil {
			return nil, fmt.Errorf("secrets of pod %s: %w", spec.PodID, err)
		}
		if err := socketDir(dir, user); err != nil {
			return nil, err
		}
		return m.prepare(ctx, spec, text, cookie, dir)
	})
}

func (m *Manager) prepare(ctx context.Context, spec Spec, text string, cookie []byte, dir string) (*Incoming, error) {
	r, err := dialRPC(ctx, m.cfg.URI)
	if err != nil {
		return nil, err
	}
	in := &Incoming{m: m, pod: spec.PodID, rpc: r, name: domainName(spec.PodID), flags: moveFlags, Memory: filepath.Join(dir, "m"), Disks: filepath.Join(dir, "d")}
	params := []golibvirt.TypedParam{
		param(golibvirt.MigrateParamURI, "unix://"+in.Memory), param(golibvirt.MigrateParamDestName, in.name), param(golibvirt.MigrateParamDestXML, text),
	}
	if spec.ScratchGiB > 0 {
		in.flags |= golibvirt.MigrateNonSharedDisk
		params = append(params, param(golibvirt.MigrateParamMigrateDisks, diskName(len(spec.Disks))), param(golibvirt.MigrateParamDisksURI, "unix://"+in.Disks))
	}
	err = r.within(ctx, startTimeout, func() (err error) {
		in.Cookie, _, err = r.DomainMigratePrepare3Params(params, cookie, uint32(in.flags))
		return err
	})
	if err != nil {
		r.close()
		return nil, fmt.Errorf("prepare for the memory of pod %s: %w", spec.PodID, err)
	}
	return in, nil
}

// Finish lets the machine run that has received its memory, or ends it, and returns how long it was paused.
func (in *Incoming) Finish(ctx context.Context, cookie []byte, run bool) (downtime time.Duration, _ error) {
	defer in.rpc.close()
	end, err := in.m.turns.take(ctx, in.pod)
	if err != nil {
		return 0, err
	}
	defer end()
	var out []byte
	err = in.rpc.within(ctx, startTimeout, func() (err error) {
		_, out, err = in.rpc.DomainMigrateFinish3Params([]golibvirt.TypedParam{param(golibvirt.MigrateParamDestName, in.name)}, cookie, uint32(in.flags), canceled(!run))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("run the machine of pod %s that has received its memory: %w", in.pod, err)
	}
	var stats struct {
		Downtime int64 `xml:"statistics>downtime"`
	}
	_ = xml.Unmarshal(out, &stats) //nolint:errcheck // libvirt may not know it
	return time.Duration(stats.Downtime) * time.Millisecond, nil
}

// Close ends a machine that has not received its memory: libvirtd does when the connection is closed.
func (in *Incoming) Close() { in.rpc.close() }

// SocketDir is the directory for the sockets of a machine that moves. It is next to the scratch disks, where machines' users can pass.
func (c Config) SocketDir(pod uuid.UUID) string {
	return filepath.Join(c.ScratchDir, pod.String()+".move")
}

// socketDir makes a directory that only the machine's user can enter.
func socketDir(dir string, user uint32) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil { //nolint:gosec // the users of machines pass through it
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chown(dir, int(user), int(user))
}

// SendDir makes the directory with the sockets to which a machine sends its memory.
func (m *Manager) SendDir(ctx context.Context, pod uuid.UUID, dir string) (user int, _ error) {
	id, err := call(ctx, m, callTimeout, func(c *libvirt.Connect) (uint32, error) { return userOfPod(c, pod) })
	if err != nil {
		return 0, err
	}
	return int(id), socketDir(dir, id)
}
