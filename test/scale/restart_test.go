// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/simulated"
	"husk/openapi"
)

const (
	restartNodes = 1000
	// servedGoal is from the signal that ends a server until its successor serves.
	servedGoal = 5 * time.Second
	// lost is longer than the default lease and its margin: a node that is silent for this time is lost.
	lost = 90 * time.Second
)

// BenchmarkRollingRestart restarts two servers, one after the other, while each has the agents of 500 nodes. It measures how long each does not serve, and
// fails if a node is thought to be lost.
func BenchmarkRollingRestart(b *testing.B) {
	i := install(b, "--logins-per-second", "10000")
	servers := []*huskd{i.server(b, "server-1"), i.server(b, "server-2")}
	db := servers[0].connect(b)
	op := operatorClient(b, servers[0])
	servers[0].awaitLeader(b)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, len(servers))
	var fleets []*simulated.Fleet
	for n, s := range servers {
		fleet, err := simulated.Join(b.Context(), simulated.Config{
			ServerURL: s.forAgents, Nodes: restartNodes / len(servers), NodeName: fmt.Sprintf("metal-%d-", n), Capacity: husk.Resources{CPUMillis: 64_000, MemoryMiB: 128 << 10},
			BootTime: time.Second, Log: slog.New(slog.DiscardHandler),
			Token: func(ctx context.Context, node *uuid.UUID) (string, error) {
				t, err := op.Nodes.CreateJoinToken(ctx, openapi.JoinTokenCreate{NodeID: node})
				return t.Token, err
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		fleets = append(fleets, fleet)
	}
	servers[0].fill(b, db, size{tenants: restartNodes * podsPerNode / podsPerTenant, pods: restartNodes * podsPerNode, imports: 1})
	for _, f := range fleets {
		go func() { ended <- f.Run(ctx) }()
	}
	defer func() {
		stop()
		for range fleets {
			if err := <-ended; err != nil {
				b.Error(err)
			}
		}
	}()
	for _, f := range fleets {
		servers[0].eventually(b, "all agents run", func() bool { return f.Unreported() == 0 })
	}
	wait(ctx, settle)

	var longest time.Duration
	for n, s := range servers {
		fleets[n].Meter.Reset()
		began := time.Now()
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := s.cmd.Wait(); err != nil {
			b.Errorf("%s ends with %v", s.name, err)
		}
		ends := time.Since(began)
		s.start(b)
		served := time.Since(began)
		longest = max(longest, served)
		wait(ctx, lost)
		fmt.Printf("\n%s with %d agents ended %.2f s after the signal and served again after %.2f s; %s of its agents since then: %s\n", s.name, restartNodes/len(servers), ends.Seconds(),
			served.Seconds(), simulated.Heartbeats, fleets[n].Meter.Of(simulated.Heartbeats))
	}
	var away, events int
	if err := db.QueryRow(b.Context(), "SELECT (SELECT count(*) FROM nodes WHERE state <> 'Ready'), (SELECT count(*) FROM events WHERE reason = 'Unknown')").Scan(&away, &events); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(longest.Seconds()*1000, "restart-ms")
	b.ReportMetric(0, "ns/op")
	if away+events > 0 || longest > servedGoal {
		b.Errorf("%d nodes are not Ready and %d pods were on nodes thought to be lost, want none; serving again took %s, want below %s", away, events, longest, servedGoal)
	}
}
