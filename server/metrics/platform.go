package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/store"
)

// platform collects what Postgres knows: pods by phase, nodes with their capacity.
type platform struct{ control store.Control }

var (
	podsDesc      = prometheus.NewDesc("husk_pods", "Pods of all tenants by phase.", []string{"phase"}, nil)
	nodesDesc     = prometheus.NewDesc("husk_nodes", "Nodes by state.", []string{"state"}, nil)
	capacityDesc  = prometheus.NewDesc("husk_node_capacity", "What can be placed on a node, in cores and bytes; of cpu, with the overcommit ratio of its pool.", []string{"node", "resource"}, nil)
	allocatedDesc = prometheus.NewDesc("husk_node_allocated", "What is placed on a node, in cores and bytes, overhead included.", []string{"node", "resource"}, nil)
	heartbeatDesc = prometheus.NewDesc("husk_node_last_heartbeat_timestamp_seconds", "When a server took the node's latest heartbeat.", []string{"node"}, nil)
	expiryDesc    = prometheus.NewDesc("husk_node_certificate_expiry_timestamp_seconds", "When a node's newest certificate expires; absent without a good one.", []string{"node"}, nil)
)

// Describe implements prometheus.Collector.
func (p platform) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{podsDesc, nodesDesc, capacityDesc, allocatedDesc, heartbeatDesc, expiryDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p platform) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	phases, err := p.control.PodPhases(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(podsDesc, err)
		return
	}
	for _, phase := range husk.Phases {
		if phase != husk.PhaseGone {
			ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(phases[phase]), string(phase))
		}
	}
	nodes, err := p.control.Nodes(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(nodesDesc, err)
		return
	}
	states := map[husk.NodeState]int{husk.NodeJoining: 0, husk.NodeReady: 0, husk.NodeLost: 0}
	const mib = 1 << 20
	for _, n := range nodes {
		states[n.State]++
		gauge := func(d *prometheus.Desc, r husk.Resources) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(r.CPUMillis)/1000, n.Name, "cpu")
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(r.MemoryMiB)*mib, n.Name, "memory")
		}
		gauge(capacityDesc, husk.Resources{CPUMillis: n.SchedulableCPUMillis, MemoryMiB: n.Capacity.MemoryMiB})
		gauge(allocatedDesc, n.Allocated)
		if n.HeartbeatAt != nil {
			ch <- prometheus.MustNewConstMetric(heartbeatDesc, prometheus.GaugeValue, unixSeconds(*n.HeartbeatAt), n.Name)
		}
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(nodesDesc, prometheus.GaugeValue, float64(n), string(state))
	}
	expiries, err := p.control.CertificateExpiries(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(expiryDesc, err)
		return
	}
	for node, at := range expiries {
		ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, unixSeconds(at), node)
	}
}

func unixSeconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// connections collects how this server uses its connections to Postgres, which it asks nothing for that.
type connections struct{ store *store.Store }

var (
	connectionsDesc    = prometheus.NewDesc("husk_postgres_connections", "Connections to Postgres that this server has open, by role and by what they do.", []string{"role", "state"}, nil)
	connectionsMaxDesc = prometheus.NewDesc("husk_postgres_connections_max", "Connections to Postgres that this server may open, by role.", []string{"role"}, nil)
	waitsDesc          = prometheus.NewDesc("husk_postgres_connection_waits_total", "Times that a transaction had to wait until a connection was free or open.", []string{"role"}, nil)
	waitedDesc         = prometheus.NewDesc("husk_postgres_connection_wait_seconds_total", "Time that transactions have waited until a connection was free or open.", []string{"role"}, nil)
)

// Describe implements prometheus.Collector.
func (c connections) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, connectionsMaxDesc, waitsDesc, waitedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c connections) Collect(ch chan<- prometheus.Metric) {
	for _, of := range c.store.Connections() {
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(of.InUse), of.Role, "in_use")
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(of.Idle), of.Role, "idle")
		ch <- prometheus.MustNewConstMetric(connectionsMaxDesc, prometheus.GaugeValue, float64(of.Max), of.Role)
		ch <- prometheus.MustNewConstMetric(waitsDesc, prometheus.CounterValue, float64(of.Waits), of.Role)
		ch <- prometheus.MustNewConstMetric(waitedDesc, prometheus.CounterValue, of.Waited.Seconds(), of.Role)
	}
}
