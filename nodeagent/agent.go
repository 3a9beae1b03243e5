// SPDX-License-Identifier: Apache-2.0

// Package nodeagent brings one node to its desired state. It talks to the server only through the
// API, and to libvirt, the kernel's network and the pods' guests.
//
// Flow: desired.go keeps the node's desired state current. reconcile.go compares it with the
// existing domains, and starts or ends one worker per pod. Each worker (worker.go) brings its own
// pod to its desired state. A worker is level-triggered and may crash at any point. report.go sends the
// workers' results to the server in batches. endpoint.go serves logs to the server. join.go joins
// the node to the cluster. From then on the node authenticates with the certificate in identity.go,
// which renew.go renews in time.
package nodeagent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/lease"
	"husk/nodeagent/names"
	"husk/nodeagent/network"
	"husk/nodeagent/traffic"
	"husk/nodeagent/usagelog"
	"husk/nodeagent/vm"
	"husk/pki"
)

// Config is what an agent needs.
type Config struct {
	ServerURL string // https://, the address at which the server listens for agents
	JoinToken string // only needed until the node has joined, and to join again
	NodeName  string
	StateDir  string
	Listen    string         // the address at which servers reach the agent, host:port
	Resolvers []netip.Addr   // which name servers ask for names outside
	Network   network.Config // without the node's id, which the agent knows
	VM        vm.Config
	Capacity  husk.Resources
	// OverheadMiB is the memory that QEMU needs for one virtual machine in addition to its guest's
	// memory.
	OverheadMiB int
	// ShareMiB is the memory that a machine needs for its kernel and husk-init.
	ShareMiB int
	// ScratchGiB is how much the scratch disks of pods can have together.
	ScratchGiB int
	// BootTimeout is how long husk-init may take to respond before the machine is stopped and
	// started again.
	BootTimeout time.Duration
	// StopPodsOnExit stops the pods' machines cleanly when the agent is stopped. Otherwise they
	// continue to run, and the next agent adopts them.
	StopPodsOnExit bool
	Log            *slog.Logger
}

// Agent is the agent of one node.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	id     *identity // the identity at start; holder has the renewed certificate
	holder *pki.NodeHolder
	server *serverClient
	vms    *vm.Manager
	net    *network.Network
	names  *names.Set
	// capabilities are what the agent reports about itself and its node.
	capabilities []string
	reports      *reporter
	usage        *usagelog.Log
	metrics      *metrics

	mu      sync.Mutex
	workers map[uuid.UUID]*worker
	stopped bool // the node is shutting down; nothing new is started

	lease   *lease.Lease
	applied atomic.Int64 // the revision of the desired state that reconcile has applied

	adopted bool // the running pods of the previous agent are attached; only reconcile uses it
}

// New joins the cluster if the node has not joined yet, and prepares the node's network.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	if err := checkServerURL(cfg.ServerURL); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.StateDir, filepath.Join(cfg.StateDir, "pods"), cfg.VM.LogDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create the state directory: %w", err)
		}
	}
	id, err := loadIdentity(ctx, cfg)
	if err != nil {
		return nil, err
	}
	cfg.Network.Node, cfg.Network.Log, cfg.Network.TLS = id.NodeID, cfg.Log, tlsFiles(cfg.StateDir)
	if err := id.keepTLS(cfg.Network.TLS); err != nil {
		return nil, fmt.Errorf("write the certificate for ovn-controller: %w", err)
	}
	net, err := network.New(ctx, cfg.Network)
	if err != nil {
		return nil, fmt.Errorf("prepare the network: %w", err)
	}
	cfg.VM.Node = id.NodeID
	a := &Agent{
		cfg: cfg, log: cfg.Log.With("node", id.NodeID), id: id, holder: &pki.NodeHolder{}, vms: vm.New(cfg.VM), net: net, capabilities: slices.Clone(husk.AgentCapabilities), workers: map[uuid.UUID]*worker{},
	}
	if net.Gateway() {
		a.capabilities = append(a.capabilities, husk.CapabilityGateway)
	}
	a.holder.Replace(id.cert)
	a.server = newServerClient(cfg.ServerURL, id.root, a.holder)
	if a.usage, err = usagelog.Open(filepath.Join(cfg.StateDir, "runs")); err != nil {
		return nil, err
	}
	if a.lease, err = lease.Open(cfg.StateDir); err != nil {
		return nil, err
	}
	if a.names, err = names.Open(filepath.Join(cfg.StateDir, "names"), names.Config{
		Forwarder: names.ForwarderTo(cfg.Resolvers), Metrics: names.NewMetrics(), Ranges: a.setInside, Log: a.log,
	}); err != nil {
		return nil, err
	}
	a.reports = newReporter(a.server, a.usage, a.log)
	a.metrics = newMetrics(a)
	return a, nil
}

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	endpoint, err := a.serveEndpoint()
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	loopCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	desired := make(chan desiredState, 1)
	renewal := &renewal{server: a.server, holder: a.holder, file: identityFile(a.cfg.StateDir), tls: a.cfg.Network.TLS, log: a.log, id: a.id}
	running.Go(func() { renewal.run(loopCtx) })
	running.Go(func() { a.heartbeat(loopCtx) })
	running.Go(func() { lease.Guard(loopCtx, a.lease, a.cfg.StateDir, a.log) })
	running.Go(func() { a.countTraffic(loopCtx) })
	running.Go(func() { a.sampleLoop(loopCtx) })
	running.Go(func() { traffic.Run(loopCtx, a.net, a.server.api.ReportSamples, a.log) })
	running.Go(func() { a.clockLoop(loopCtx) })
	running.Go(func() { a.follow(loopCtx, desired) })
	running.Go(func() { a.net.Watch(loopCtx) })
	running.Go(func() { a.names.Follow(loopCtx, a.server.api) })
	running.Go(func() { a.removeOldLogs(loopCtx) })
	// Workers and reports continue after ctx ends, for as long as an orderly stop takes.
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var reporting sync.WaitGroup
	reporting.Go(func() { a.reports.run(workCtx) })
	running.Go(func() { a.reconcile(loopCtx, workCtx, desired) })

	<-ctx.Done()
	running.Wait()
	if a.cfg.StopPodsOnExit {
		a.stopPods()
	}
	stopWork()
	a.waitWorkers()
	reporting.Wait()
	if a.cfg.StopPodsOnExit {
		if err := lease.Dismiss(a.cfg.StateDir); err != nil {
			a.log.Warn("the watchdog still runs", "error", err)
		}
	}
	a.server.close()
	a.vms.Close()
	a.net.Close()
	return endpoint()
}

// nodeStopGrace is how long pods have to end when the node shuts down.
const nodeStopGrace = 10 * time.Second

// stopPods ends every machine of this node, all at the same time.
func (a *Agent) stopPods() {
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	workers := a.allWorkers()
	for _, w := range workers {
		w.park()
	}
	deadline := time.After(3 * nodeStopGrace)
	for _, w := range workers {
		select {
		case <-w.parked:
		case <-deadline:
			a.log.Warn("pod did not stop in time; its machine is still running", "pod", w.id)
			return
		}
	}
}

func (a *Agent) waitWorkers() {
	for _, w := range a.allWorkers() {
		<-w.done
	}
}

func (a *Agent) allWorkers() []*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.workers))
}
