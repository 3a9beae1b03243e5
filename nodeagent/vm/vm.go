// SPDX-License-Identifier: Apache-2.0

// Package vm runs pods' virtual machines through libvirt. It exposes no libvirt types.
//
// A domain is transient: nothing of it is left when it ends. Its UUID is the pod's id and its
// metadata contains the generation, so that a restarted agent knows what runs without any state of
// its own.
package vm

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"husk/nodeagent/process"
)

// Deadlines of libvirt calls. The C library cannot be interrupted. So a call that takes longer is
// abandoned and the connection is replaced: a libvirtd that hangs must not block the agent.
const (
	callTimeout  = 10 * time.Second
	startTimeout = 60 * time.Second
	// interruptAfter is how long Destroy waits for a call before it kills the machine. A start takes about a second.
	interruptAfter = 3 * time.Second
)

// ErrUnresponsive is returned if libvirt does not respond in time. The result of the call is then
// unknown; the domain may still run.
var ErrUnresponsive = errors.New("libvirt does not respond")

// Config says how virtual machines are created.
type Config struct {
	Node      uuid.UUID // domains of another agent on the same libvirt are ignored
	URI       string    // qemu:///system
	Emulate   bool      // TCG instead of KVM: not a security boundary, for development only
	Kernel    string    // paths that QEMU's user can read
	Initramfs string
	Firmware  string // qboot
	Cmdline   string
	// LifeLogDir is where libvirt writes a log of the starts and stops of each domain. RunDir is
	// where it keeps the state of running domains.
	LifeLogDir, RunDir string
	ScratchDir         string // has the scratch disks
	LogDir             string // virtlogd logs consoles here, and limits and rotates the logs
	Users              Users  // that machines run as, one each
	Disks              DiskLimits
}

// DiskLimits is how much a disk, or all disks of one machine together, can read and write. 0 means no limit.
type DiskLimits struct{ BytesPerSecond, OperationsPerSecond uint64 }

// Spec is one virtual machine.
type Spec struct {
	PodID, TenantID uuid.UUID
	Placement       int64
	Generation      int64
	CPUs            int
	MemoryMiB       int // of the guest
	MaxCPUs         int // that the machine can get while it runs
	MaxMemoryMiB    int // as above; at least MemoryMiB
	Disks           []Disk
	ScratchGiB      int       // size of the scratch disk; 0: none
	Monitors        []Address // of Ceph
	CephUser        string
	CephKey         string // base64
	Cards           []Card
	MTU             int    // of all cards
	CPULimitMillis  int    // the machine starts with this limit; 0: without one
	Model           *Model // nil: what this node has
}

// Card is a network card.
type Card struct {
	Tap string // exists already
	MAC string
}

// Disk is an RBD image.
type Disk struct {
	Pool, Name, Serial string
	ReadOnly           bool
	SizeGiB            int         // to which the machine sees it grow; see GrowDisk
	Passphrase         string      // of LUKS; empty: it is not encrypted
	Limits             *DiskLimits // of its own; nil: it shares Config.Disks with the machine's other disks
}

// Address is a host and a port.
type Address struct{ Host, Port string }

// Domain is a virtual machine that exists.
type Domain struct {
	PodID      uuid.UUID
	Placement  int64 // 0 if it was started before placements had numbers
	Generation int64
	Channel    string // path of the socket of the guest channel
	MemoryMiB  int    // what the machine has, or may take by itself
}

// Manager is a client of one libvirt.
type Manager struct {
	cfg   Config
	users *userTable
	conns *connections
	turns turns
}

// New returns a manager. It connects when it is first used.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg, users: newUserTable(cfg.Users, cfg.Node), conns: newConnections(cfg.URI)}
}

// Close ends the connection. Domains continue to run.
func (m *Manager) Close() { m.conns.close() }

// callFor is call for something that changes a pod's domain. Such calls never overlap, also if one was abandoned: the next one waits until that
// has ended.
func callFor[T any](ctx context.Context, m *Manager, pod uuid.UUID, timeout time.Duration, f func(*libvirt.Connect) (T, error)) (T, error) {
	return callWith(ctx, m, timeout, func(ctx context.Context) (func(), error) { return m.turns.take(ctx, pod) }, f)
}

// call runs f with a live connection and a deadline.
func call[T any](ctx context.Context, m *Manager, timeout time.Duration, f func(*libvirt.Connect) (T, error)) (T, error) {
	return callWith(ctx, m, timeout, func(context.Context) (func(), error) { return func() {}, nil }, f)
}

func callWith[T any](ctx context.Context, m *Manager, timeout time.Duration, begin func(context.Context) (end func(), err error), f func(*libvirt.Connect) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan outcome, 1)
	var used atomic.Pointer[connection]
	go func() {
		end, err := begin(ctx)
		if err != nil {
			done <- outcome{err: err}
			return
		}
		defer end()
		conn, err := m.conns.begin(ctx)
		if err != nil {
			done <- outcome{err: fmt.Errorf("connect to libvirt at %s: %w", m.cfg.URI, err)}
			return
		}
		defer m.conns.end(conn)
		used.Store(conn)
		value, err := f(conn.Connect)
		if broken(err) {
			m.conns.replace(conn)
		}
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		if o.err == nil || ctx.Err() == nil {
			return o.value, o.err
		}
	case <-ctx.Done():
	}
	if conn := used.Load(); conn != nil {
		m.conns.replace(conn) // a call hangs in it
	}
	var zero T
	return zero, fmt.Errorf("%w within %s", ErrUnresponsive, timeout)
}

func is(err error, code libvirt.ErrorNumber) bool {
	e, ok := errors.AsType[libvirt.Error](err)
	return ok && e.Code == code
}

// broken reports whether the error is one of the connection itself.
func broken(err error) bool {
	e, ok := errors.AsType[libvirt.Error](err)
	return ok && (e.Domain == libvirt.FROM_RPC || e.Code == libvirt.ERR_NO_CONNECT || e.Code == libvirt.ERR_INVALID_CONN)
}

// metadata is Husk's element in a domain's description.
type metadata struct {
	XMLName    xml.Name  `xml:"urn:husk:pod:1 pod"`
	Generation int64     `xml:"generation,attr"`
	Placement  int64     `xml:"placement,attr"`
	Tenant     uuid.UUID `xml:"tenant,attr"`
	Node       uuid.UUID `xml:"node,attr"`
}

// List returns the domains of this node's agent, and no other domains on the same libvirt.
func (m *Manager) List(ctx context.Context) ([]Domain, error) {
	return call(ctx, m, callTimeout, func(c *libvirt.Connect) ([]Domain, error) {
		all, err := c.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_ACTIVE)
		if err != nil {
			return nil, fmt.Errorf("list domains: %w", err)
		}
		domains := make([]Domain, 0, len(all))
		for i := range all {
			d, ours, err := m.describe(&all[i])
			err = errors.Join(err, all[i].Free())
			if err != nil && !is(err, libvirt.ERR_NO_DOMAIN) {
				return nil, err
			}
			if ours {
				domains = append(domains, d)
			}
		}
		return domains, nil
	})
}

// Find returns the domain of a pod, and false if there is none.
func (m *Manager) Find(ctx context.Context, pod uuid.UUID) (Domain, bool, error) {
	type found struct {
		d  Domain
		ok bool
	}
	f, err := call(ctx, m, callTimeout, func(c *libvirt.Connect) (found, error) {
		dom, err := c.LookupDomainByUUID(pod[:])
		if is(err, libvirt.ERR_NO_DOMAIN) {
			return found{}, nil
		}
		if err != nil {
			return found{}, fmt.Errorf("look up the domain of pod %s: %w", pod, err)
		}
		defer dom.Free() //nolint:errcheck // it only drops a reference
		d, ok, err := m.describe(dom)
		if is(err, libvirt.ERR_NO_DOMAIN) {
			return found{}, nil
		}
		return found{d, ok}, err
	})
	return f.d, f.ok, err
}

func (m *Manager) describe(dom *libvirt.Domain) (Domain, bool, error) {
	text, err := dom.GetXMLDesc(0)
	if err != nil {
		return Domain{}, false, fmt.Errorf("describe a domain: %w", err)
	}
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return Domain{}, false, fmt.Errorf("read a domain's description: %w", err)
	}
	if x.Metadata == nil {
		return Domain{}, false, nil
	}
	var meta metadata
	if err := xml.Unmarshal([]byte(x.Metadata.XML), &meta); err != nil || meta.Node != m.cfg.Node {
		return Domain{}, false, nil //nolint:nilerr // a domain of somebody else
	}
	d := Domain{Placement: meta.Placement, Generation: meta.Generation, MemoryMiB: sizeOf(text, &x).mostMiB()}
	if d.PodID, err = uuid.Parse(x.UUID); err != nil {
		return Domain{}, false, fmt.Errorf("uuid of domain %s: %w", x.Name, err)
	}
	for _, c := range x.Devices.Channels {
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == channelName && c.Source != nil && c.Source.UNIX != nil {
			d.Channel = c.Source.UNIX.Path
		}
	}
	return d, true, nil
}

// Start creates the pod's domain. It passes the Ceph key and the passphrases of disks as ephemeral, private secrets.
func (m *Manager) Start(ctx context.Context, spec Spec) (Domain, error) {
	return callFor(ctx, m, spec.PodID, startTimeout, func(c *libvirt.Connect) (Domain, error) {
		if err := letThrough(m.cfg.Emulate); err != nil {
			return Domain{}, fmt.Errorf("let the machines' users through to their files: %w", err)
		}
		user, err := m.users.take(func() (map[uint32]bool, error) { return usedIDs(c) })
		if err != nil {
			return Domain{}, err
		}
		defer m.users.release(user)
		if spec.ScratchGiB > 0 {
			if err := makeScratch(ctx, m.cfg.ScratchDir, spec, user); err != nil {
				return Domain{}, fmt.Errorf("scratch disk of pod %s: %w", spec.PodID, err)
			}
		}
		text, err := domainXML(m.cfg, spec, user)
		if err != nil {
			return Domain{}, fmt.Errorf("describe the domain of pod %s: %w", spec.PodID, err)
		}
		if err := putSecrets(c, spec); err != nil {
			return Domain{}, fmt.Errorf("secrets of pod %s: %w", spec.PodID, err)
		}
		dom, err := create(c, text, spec.CPULimitMillis)
		if err != nil {
			return Domain{}, fmt.Errorf("start the domain of pod %s: %w", spec.PodID, err)
		}
		defer dom.Free() //nolint:errcheck // it only drops a reference
		d, _, err := m.describe(dom)
		return d, err
	})
}

// create starts a domain. With a cpu limit, it sets the limit before the domain runs.
func create(c *libvirt.Connect, text string, limitMillis int) (*libvirt.Domain, error) {
	if limitMillis == 0 {
		return c.DomainCreateXML(text, 0)
	}
	dom, err := c.DomainCreateXML(text, libvirt.DOMAIN_START_PAUSED)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(limitCPU(dom, limitMillis), dom.Resume()); err != nil {
		return nil, errors.Join(err, dom.Destroy(), dom.Free())
	}
	return dom, nil
}

// LimitMemory limits a domain's memory, guest and QEMU together, by its cgroup. The limit is not
// part of the domain's description, because libvirt would then also raise the amount of memory that
// QEMU may lock. QEMU does not need that, and a node may forbid it.
func (m *Manager) LimitMemory(ctx context.Context, pod uuid.UUID, mib int) error {
	params := libvirt.DomainMemoryParameters{HardLimitSet: true, HardLimit: uint64(mib+hardLimitSlackMiB) << 10} //nolint:gosec // KiB; the contract bounds it
	return m.change(ctx, pod, "limit the memory", func(dom *libvirt.Domain) error {
		return dom.SetMemoryParameters(&params, libvirt.DOMAIN_AFFECT_LIVE)
	})
}

// cpuPeriod is the time in which a pod may use its share of cpu, in microseconds.
const cpuPeriod = 100_000

// LimitCPU limits the whole QEMU process to the pod's cpu, including its threads for disks and
// emulation.
func (m *Manager) LimitCPU(ctx context.Context, pod uuid.UUID, millis int) error {
	return m.change(ctx, pod, "limit the cpu", func(dom *libvirt.Domain) error { return limitCPU(dom, millis) })
}

func limitCPU(dom *libvirt.Domain, millis int) error {
	return dom.SetSchedulerParametersFlags(&libvirt.DomainSchedulerParameters{
		GlobalPeriodSet: true, GlobalPeriod: cpuPeriod, GlobalQuotaSet: true, GlobalQuota: int64(millis) * cpuPeriod / 1000,
	}, libvirt.DOMAIN_AFFECT_LIVE)
}

func (m *Manager) change(ctx context.Context, pod uuid.UUID, what string, f func(*libvirt.Domain) error) error {
	_, err := callFor(ctx, m, pod, callTimeout, func(c *libvirt.Connect) (struct{}, error) {
		dom, err := c.LookupDomainByUUID(pod[:])
		if err != nil {
			return struct{}{}, fmt.Errorf("look up the domain of pod %s: %w", pod, err)
		}
		defer dom.Free() //nolint:errcheck // it only drops a reference
		if err := f(dom); err != nil {
			return struct{}{}, fmt.Errorf("%s of pod %s: %w", what, pod, err)
		}
		return struct{}{}, nil
	})
	return err
}

// Destroy ends the pod's domain at once, like a power failure, and removes its secret and its scratch
// disk. It returns nil if there is no domain.
func (m *Manager) Destroy(ctx context.Context, pod uuid.UUID) error {
	// A call that hangs together with the machine ends with it: a start, for example, while Ceph does not respond.
	if !m.turns.free(ctx, pod, interruptAfter) {
		if _, err := process.Kill(filepath.Dir(m.cfg.Kernel), process.Of(pod)); err != nil {
			return fmt.Errorf("kill the machine of pod %s, whose start or change hangs: %w", pod, err)
		}
	}
	_, err := callFor(ctx, m, pod, startTimeout, func(c *libvirt.Connect) (struct{}, error) {
		dom, err := c.LookupDomainByUUID(pod[:])
		if err == nil {
			err = dom.Destroy()
			_ = dom.Free() //nolint:errcheck // it only drops a reference
		}
		if err != nil && !is(err, libvirt.ERR_NO_DOMAIN) && !is(err, libvirt.ERR_OPERATION_INVALID) {
			return struct{}{}, fmt.Errorf("end the domain of pod %s: %w", pod, err)
		}
		return struct{}{}, errors.Join(removeSecrets(c, pod), removeScratch(m.cfg.ScratchDir, pod), os.RemoveAll(m.cfg.SocketDir(pod)))
	})
	return err
}
