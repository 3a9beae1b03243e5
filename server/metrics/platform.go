// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/store"
)

// platform collects metrics from Postgres: pods by phase, and nodes with their capacity.
type platform struct{ control store.Control }

var (
	podsDesc       = prometheus.NewDesc("husk_pods", "Pods of all tenants by phase.", []string{"phase"}, nil)
	unknownDesc    = prometheus.NewDesc("husk_pods_unknown", "Pods of all tenants whose node does not respond.", nil, nil)
	nodesDesc      = prometheus.NewDesc("husk_nodes", "Nodes by state.", []string{"state"}, nil)
	capacityDesc   = prometheus.NewDesc("husk_node_capacity", "Schedulable capacity of a node, in cores and bytes. Cpu includes the overcommit ratio of the node's pool.", []string{"node", "resource"}, nil)
	allocatedDesc  = prometheus.NewDesc("husk_node_allocated", "Allocated capacity of a node, in cores and bytes, including the overhead of virtual machines.", []string{"node", "resource"}, nil)
	heartbeatDesc  = prometheus.NewDesc("husk_node_last_heartbeat_timestamp_seconds", "Unix time of the node's latest heartbeat.", []string{"node"}, nil)
	addressesDesc  = prometheus.NewDesc("husk_floating_addresses", "Floating addresses in the operator's range.", []string{"state"}, nil)
	classesDesc    = prometheus.NewDesc("husk_volume_class_volumes", "Volumes of all tenants by volume class.", []string{"class"}, nil)
	classBytesDesc = prometheus.NewDesc("husk_volume_class_bytes", "Size of the volumes of all tenants by volume class.", []string{"class"}, nil)
	expiryDesc     = prometheus.NewDesc("husk_node_certificate_expiry_timestamp_seconds", "Unix time at which the node's newest certificate expires or has expired; absent if all of its certificates were revoked.", []string{"node"}, nil)
)

// Describe implements prometheus.Collector.
func (p platform) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{podsDesc, unknownDesc, nodesDesc, capacityDesc, allocatedDesc, heartbeatDesc, addressesDesc, classesDesc, classBytesDesc, expiryDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p platform) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	phases, unknown, err := p.control.PodPhases(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(podsDesc, err)
		return
	}
	for _, phase := range husk.Phases {
		if phase != husk.PhaseGone {
			ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(phases[phase]), string(phase))
		}
	}
	ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(unknown))
	nodes, err := p.control.Nodes(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(nodesDesc, err)
		return
	}
	states := map[husk.NodeState]int{}
	for _, s := range husk.NodeStates {
		states[s] = 0
	}
	const mib = 1 << 20
	for _, n := range nodes {
		states[n.State]++
		gauge := func(d *prometheus.Desc, r husk.Resources) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(r.CPUMillis)/1000, n.Name, "cpu")
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(r.MemoryMiB)*mib, n.Name, "memory")
		}
		gauge(capacityDesc, husk.Resources{CPUMillis: n.SchedulableCPUMillis, MemoryMiB: n.Capacity.MemoryMiB})
		gauge(allocatedDesc, n.Allocated)
		if n.ScratchGiB != nil {
			ch <- prometheus.MustNewConstMetric(capacityDesc, prometheus.GaugeValue, float64(*n.ScratchGiB)*gib, n.Name, "scratch")
			ch <- prometheus.MustNewConstMetric(allocatedDesc, prometheus.GaugeValue, float64(n.AllocatedScratchGiB)*gib, n.Name, "scratch")
		}
		if n.HeartbeatAt != nil {
			ch <- prometheus.MustNewConstMetric(heartbeatDesc, prometheus.GaugeValue, unixSeconds(*n.HeartbeatAt), n.Name)
		}
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(nodesDesc, prometheus.GaugeValue, float64(n), string(state))
	}
	used, all, err := p.control.FloatingAddresses(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(addressesDesc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(addressesDesc, prometheus.GaugeValue, float64(used), "used")
	ch <- prometheus.MustNewConstMetric(addressesDesc, prometheus.GaugeValue, float64(all-used), "free")
	classes, err := p.control.Copies().Classes(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(classesDesc, err)
		return
	}
	for _, c := range classes {
		ch <- prometheus.MustNewConstMetric(classesDesc, prometheus.GaugeValue, float64(*c.Volumes), c.Name)
		ch <- prometheus.MustNewConstMetric(classBytesDesc, prometheus.GaugeValue, float64(c.GiB)*gib, c.Name)
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

// connections collects the state of this server's connections to Postgres, without a query.
type connections struct{ store *store.Store }

var (
	connectionsDesc    = prometheus.NewDesc("husk_postgres_connections", "Open connections of this server to Postgres, by pool and state.", []string{"pool", "state"}, nil)
	connectionsMaxDesc = prometheus.NewDesc("husk_postgres_connections_max", "Maximum number of connections of this server to Postgres, by pool.", []string{"pool"}, nil)
	waitsDesc          = prometheus.NewDesc("husk_postgres_connection_waits_total", "Transactions that had to wait for a connection.", []string{"pool"}, nil)
	shareDesc          = prometheus.NewDesc("husk_postgres_tenant_wait_seconds_total", "Total time that transactions waited because their tenant already used its share of the connections.", []string{"pool"}, nil)
	waitedDesc         = prometheus.NewDesc("husk_postgres_connection_wait_seconds_total", "Total time that transactions waited for a connection.", []string{"pool"}, nil)
)

// Describe implements prometheus.Collector.
func (c connections) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, connectionsMaxDesc, waitsDesc, waitedDesc, shareDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c connections) Collect(ch chan<- prometheus.Metric) {
	for _, of := range c.store.Connections() {
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(of.InUse), of.Pool, "in_use")
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(of.Idle), of.Pool, "idle")
		ch <- prometheus.MustNewConstMetric(connectionsMaxDesc, prometheus.GaugeValue, float64(of.Max), of.Pool)
		ch <- prometheus.MustNewConstMetric(waitsDesc, prometheus.CounterValue, float64(of.Full.Count), of.Pool)
		ch <- prometheus.MustNewConstMetric(waitedDesc, prometheus.CounterValue, of.Full.Total.Seconds(), of.Pool)
		ch <- prometheus.MustNewConstMetric(shareDesc, prometheus.CounterValue, of.Share.Total.Seconds(), of.Pool)
	}
}
