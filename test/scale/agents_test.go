// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/dev/devtest"
	"husk/nodeagent/simulated"
	"husk/openapi"
)

const (
	podsPerNode   = 10
	podsPerTenant = 100
	startPatience = 4 * time.Minute
	settle        = 30 * time.Second // after the agents have started
	agentsTime    = time.Minute      // of the measurement
	// heartbeatGoal is for 99 of 100 heartbeats.
	heartbeatGoal = 100 * time.Millisecond
)

// BenchmarkAgents measures a server and its Postgres while the agents of N nodes work, each with ten running pods, and a
// tenant creates and deletes a pod per second. HUSK_BENCH_NODES lists other numbers of nodes.
func BenchmarkAgents(b *testing.B) {
	numbers := os.Getenv("HUSK_BENCH_NODES")
	if numbers == "" {
		numbers = "250 1000"
	}
	for number := range strings.FieldsSeq(numbers) {
		n, err := strconv.Atoi(number)
		if err != nil {
			b.Fatalf("HUSK_BENCH_NODES: %v", err)
		}
		b.Run(number, func(b *testing.B) { benchmarkAgents(b, n) })
	}
}

func benchmarkAgents(b *testing.B, nodes int) {
	b.Helper()
	s := startServer(b, "--logins-per-second", "10000", "--allow-egress", "127.0.0.0/8")
	db := s.connect(b)
	op := operatorClient(b, s)
	s.awaitLeader(b)
	began := time.Now()
	fleet, err := simulated.Join(b.Context(), simulated.Config{
		ServerURL: s.forAgents, Nodes: nodes, NodeName: "metal-", Capacity: husk.Resources{CPUMillis: 64_000, MemoryMiB: 128 << 10}, BootTime: time.Second,
		Log: slog.New(slog.DiscardHandler),
		Token: func(ctx context.Context, node *uuid.UUID) (string, error) {
			t, err := op.Nodes.CreateJoinToken(ctx, openapi.JoinTokenCreate{NodeID: node})
			return t.Token, err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	joined := time.Since(began)
	pods := nodes * podsPerNode
	s.fill(b, db, size{tenants: max(1, pods/podsPerTenant), pods: pods, imports: 1, events: pods})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	// All agents start at once, and report all their pods: more than a fleet does on any other occasion.
	began = time.Now()
	for running, _ := fleet.Pods(); running < pods || fleet.Unreported() > 0; running, _ = fleet.Pods() {
		if time.Since(began) > startPatience {
			b.Fatalf("after %s, %d of %d pods run and %d agents have reports that are not recorded; heartbeats: %s; reports: %s", startPatience, running, pods, fleet.Unreported(),
				fleet.Meter.Of(simulated.Heartbeats), fleet.Meter.Of(simulated.Reports))
		}
		wait(ctx, time.Second)
	}
	started := time.Since(began)
	wait(ctx, settle)

	tn, image := op.tenantWithImage(b, s)
	fleet.Meter.Reset()
	changes := 0
	own := ownCPU(b)
	used := s.measure(b, db, func() { changes = churn(ctx, b, tn, image) })
	own = (ownCPU(b) - own) / agentsTime.Seconds()
	beats := fleet.Meter.Of(simulated.Heartbeats)
	seen, bytes := fleet.Meter.Desired()
	fmt.Printf("\n%d nodes with %d pods on one server; a tenant changed %d pods in %s\n", nodes, pods, changes, agentsTime)
	fmt.Printf("  the nodes joined in %.1f s; when all agents started at once, everything was reported after %.1f s\n", joined.Seconds(), started.Seconds())
	for _, what := range []string{simulated.Heartbeats, simulated.Reports, simulated.Samples} {
		fmt.Printf("  %-10s %s\n", what+":", fleet.Meter.Of(what))
	}
	fmt.Printf("  cpu per thousand nodes: server %.1f %% of a core, Postgres %.1f %%, and the simulation itself %.1f %%\n",
		100*used.server*1000/float64(nodes), 100*used.postgres*1000/float64(nodes), 100*own*1000/float64(nodes))
	if seen == 0 {
		b.Error("the agents got no change of their desired states")
	}
	fmt.Printf("  desired states: %d bytes per change\n", bytes/max(1, seen))
	b.ReportMetric(beats.P99.Seconds()*1000, "heartbeat-p99-ms")
	b.ReportMetric(100*used.server*1000/float64(nodes), "server-core-%/1000-nodes")
	b.ReportMetric(100*used.postgres*1000/float64(nodes), "postgres-core-%/1000-nodes")
	b.ReportMetric(float64(bytes)/float64(max(1, seen)), "B/change")
	b.ReportMetric(0, "ns/op")
	if beats.Failed > 0 || beats.P99 > heartbeatGoal {
		b.Errorf("heartbeats of %d nodes: %s; want p99 below %s", nodes, beats, heartbeatGoal)
	}
}

// ownCPU returns the CPU time of this process so far, in seconds.
func ownCPU(b *testing.B) float64 {
	b.Helper()
	p, err := processOf(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	return float64(p.own) / 100 // USER_HZ, proc(5)
}

// tenantWithImage returns a client of a new tenant that has imported a small image, and the image's reference.
func (o operator) tenantWithImage(b *testing.B, s *huskd) (tn *client.Client, ref string) {
	b.Helper()
	key := o.tenantKey(b, o.tenant(b, -1))
	tn, err := client.New(s.url, client.WithAPIKey(key.ClientID.String(), key.ClientSecret))
	if err != nil {
		b.Fatal(err)
	}
	image, err := random.Image(1024, 1)
	if err == nil {
		image, err = mutate.Config(image, v1.Config{Cmd: []string{"/run"}})
	}
	if err != nil {
		b.Fatal(err)
	}
	ref = devtest.Registry(b) + "/small"
	at, err := name.ParseReference(ref, name.Insecure)
	if err == nil {
		err = remote.Write(at, image, remote.WithContext(b.Context()))
	}
	if err != nil {
		b.Fatal(err)
	}
	imported, err := tn.Images.Import(b.Context(), openapi.ImageImport{Reference: ref})
	if err != nil {
		b.Fatal(err)
	}
	s.eventually(b, "the image is imported", func() bool {
		got, err := tn.Images.Get(b.Context(), imported.ID)
		return err == nil && got.State == openapi.ImageStateReady
	})
	return tn, ref
}

// churn creates a pod per second and deletes the one that it created some seconds before. It returns the number of both.
func churn(ctx context.Context, b *testing.B, tn *client.Client, image string) (changes int) {
	b.Helper()
	const age = 5
	var pods []uuid.UUID
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(agentsTime); time.Now().Before(end); <-tick.C {
		spec := openapi.PodSpec{
			Resources:  openapi.Resources{CPUMillis: 100, MemoryMiB: 128},
			Containers: []openapi.Container{{Name: "main", Image: image}},
		}
		pod, err := tn.Pods.Create(ctx, openapi.PodCreate{Name: "change-" + uuid.NewString()[:8], Spec: spec})
		if err != nil {
			b.Fatal(err)
		}
		pods = append(pods, pod.ID)
		if n := len(pods) - age; n > 0 {
			if err := tn.Pods.Delete(ctx, pods[n-1]); err != nil {
				b.Fatal(err)
			}
			changes++
		}
		changes++
	}
	return changes
}
