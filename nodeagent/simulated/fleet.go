// SPDX-License-Identifier: Apache-2.0

// Package simulated runs many agents in one process, without virtual machines, to see how servers carry a
// large fleet. Each simulated agent speaks the agents' API as a real one does: it joins, has a certificate and
// connections of its own, sends heartbeats, follows its desired state, and reports statuses, usage intervals
// and samples of its pods. Its pods start after BootTime and stop at once. It serves no endpoint, so their logs and
// sessions are not available.
//
// agent.go has the loops of one agent, pods.go its pods, client.go its requests, and meter.go what all of them
// measure.
package simulated

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"husk"
)

// Config describes the agents.
type Config struct {
	ServerURL string // https://
	Nodes     int
	NodeName  string // the prefix of the nodes' names
	// Dir keeps the nodes' identities. Without it, they are new nodes at each start.
	Dir string
	// Token creates a join token for a new node, or for one that has joined before.
	Token    func(ctx context.Context, node *uuid.UUID) (string, error)
	Capacity husk.Resources // of each node
	BootTime time.Duration  // of a pod
	Log      *slog.Logger
}

// joinsAtOnce limits how many nodes join at the same time, which is mostly work of the server.
const joinsAtOnce = 16

// Fleet is a set of agents.
type Fleet struct {
	Meter *Meter

	cfg    Config
	agents []*agent
}

// Join makes the agents and lets them join. They do nothing else before Run.
func Join(ctx context.Context, cfg Config) (*Fleet, error) {
	f := &Fleet{Meter: newMeter(), cfg: cfg, agents: make([]*agent, cfg.Nodes)}
	joining, ctx := errgroup.WithContext(ctx)
	joining.SetLimit(joinsAtOnce)
	for i := range f.agents {
		joining.Go(func() error {
			id, err := f.identity(ctx, fmt.Sprintf("%s%d", cfg.NodeName, i+1))
			if err == nil {
				f.agents[i], err = newAgent(cfg, id, f.Meter)
			}
			return err
		})
	}
	return f, joining.Wait()
}

// identity reads a node's identity, or lets it join.
func (f *Fleet) identity(ctx context.Context, name string) (*identity, error) {
	file := ""
	var known *uuid.UUID
	if f.cfg.Dir != "" {
		if err := os.MkdirAll(f.cfg.Dir, 0o700); err != nil {
			return nil, err
		}
		file = filepath.Join(f.cfg.Dir, name+".json")
		id, err := readIdentity(file)
		if err == nil {
			return id, nil
		}
		if id != nil {
			known = &id.NodeID
		}
	}
	token, err := f.cfg.Token(ctx, known)
	if err != nil {
		return nil, fmt.Errorf("create a join token for node %s: %w", name, err)
	}
	id, err := join(ctx, f.cfg.ServerURL, token, name)
	if err == nil && file != "" {
		err = id.write(file)
	}
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return id, nil
}

// IDs returns the ids of the nodes.
func (f *Fleet) IDs() []uuid.UUID {
	ids := make([]uuid.UUID, len(f.agents))
	for i, a := range f.agents {
		ids[i] = a.id.NodeID
	}
	return ids
}

// Run runs the agents until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var running errgroup.Group
	for _, a := range f.agents {
		running.Go(func() error { return a.run(ctx) })
	}
	err := running.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Pods returns how many pods run, and how many exist.
func (f *Fleet) Pods() (running, all int) {
	for _, a := range f.agents {
		r, n := a.pods.count()
		running, all = running+r, all+n
	}
	return running, all
}

// Unreported returns how many agents have statuses that no server has recorded.
func (f *Fleet) Unreported() (agents int) {
	for _, a := range f.agents {
		if _, pending := a.pods.queue.Next(); pending || a.sending.Load() {
			agents++
		}
	}
	return agents
}
