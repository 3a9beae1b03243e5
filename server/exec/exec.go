// SPDX-License-Identifier: Apache-2.0

// Package exec is everything that a server passes on between a tenant and a running pod: exec, attach, console, port-forward and copy
// sessions over WebSockets, and logs and statistics over plain HTTP. The agent of the pod's node serves them. The server checks that the
// caller is authorized, finds the node, records the session in the audit log, relays it, and ends it when the caller's access ends.
//
// A session goes through open (checks the caller and the pod), begin (has the agent start it) and serve (relays until one side ends it),
// all in this package. docs/decisions/0013 and 0019 describe which side waits for which.
package exec

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk/server/agents"
	"husk/server/held"
	"husk/store"
)

// Config is what sessions need.
type Config struct {
	Store  *store.Store
	Agents *agents.Agents
	Log    *slog.Logger
	// Issuer is the public URL of the installation, whose pages may open sessions.
	Issuer string
	// Idle is how long a session may pass without a byte; 0 means one hour.
	Idle time.Duration
	// Recheck is how often the server re-checks that the caller is still authorized; 0 means 15 seconds.
	Recheck time.Duration
	// Held limits the sessions of a tenant.
	Held *held.Held
	// Metrics is where the package registers its metrics.
	Metrics prometheus.Registerer
}

// Sessions serves the operations that reach into a pod. Its methods implement the operations of the API.
type Sessions struct {
	store       *store.Store
	agents      *agents.Agents
	log         *slog.Logger
	issuer      string
	idle, check time.Duration
	held        *held.Held
	running     *prometheus.GaugeVec
}

// New prepares sessions.
func New(cfg Config) *Sessions {
	if cfg.Idle == 0 {
		cfg.Idle = sessionIdle
	}
	if cfg.Recheck == 0 {
		cfg.Recheck = recheckEvery
	}
	s := &Sessions{
		store: cfg.Store, agents: cfg.Agents, log: cfg.Log, issuer: cfg.Issuer, idle: cfg.Idle, check: cfg.Recheck,
		held:    cfg.Held,
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "husk_sessions", Help: "Interactive sessions that this server relays."}, []string{"operation"}),
	}
	cfg.Metrics.MustRegister(s.running)
	return s
}
