// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"husk/version"
)

// metrics are the agent's own metrics, for the operator.
type metrics struct {
	handler   http.Handler
	heartbeat prometheus.Gauge
	reconcile prometheus.Histogram
	starts    prometheus.Histogram
	deaths    prometheus.Counter
	samples   prometheus.Histogram
	floods    prometheus.Counter
	unknown   prometheus.Counter

	logDropped prometheus.Counter

	desiredErrors prometheus.Counter
}

func newMetrics(a *Agent) *metrics {
	m := &metrics{
		heartbeat: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "husk_agent_last_heartbeat_timestamp_seconds", Help: "Unix time at which the server accepted the latest heartbeat.",
		}),
		reconcile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "husk_agent_reconcile_duration_seconds", Help: "Duration of one comparison of the desired state with the actual state, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		starts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "husk_agent_pod_start_duration_seconds", Help: "Time from the decision to start a pod's virtual machine until all its containers run, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.1, 1.5, 16),
		}),
		deaths: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "husk_agent_machine_deaths_total", Help: "Virtual machines that ended unexpectedly.",
		}),
	}
	m.floods = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "husk_agent_console_floods_total", Help: "Times that a virtual machine printed so much on its console that the agent slowed it down.",
	})
	m.unknown = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "husk_agent_unknown_instructions_total", Help: "Times that the server sent a desired state of a pod that this agent does not know. The agent left the pod as it was.",
	})
	m.logDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "husk_agent_log_dropped_bytes_total", Help: "Bytes of containers' output that are missing in their logs, because the containers wrote them faster than a pod may store them, or while no agent ran.",
	})
	m.desiredErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "husk_agent_desired_state_errors_total", Help: "Times that the sum of the changes of the desired state was not the whole state. The agent then uses the whole state.",
	})
	m.samples = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "husk_agent_sample_duration_seconds", Help: "Time to sample the usage of all pods and report it to a server, in seconds.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	pods := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "husk_agent_pods", Help: "Pods that this node should run or is stopping."}, func() float64 {
		return float64(len(a.workerIDs()))
	})
	restored := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "husk_agent_network_rules_restored_total", Help: "Times that something else changed the pods' network rules and the agent restored them.",
	}, func() float64 { return float64(a.net.Restored()) })
	broken := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "husk_agent_network_rules_broken", Help: "1 while the pods' network rules were changed and are not restored yet. Until then, the pods' interfaces are down.",
	}, func() float64 {
		if a.net.Broken() {
			return 1
		}
		return 0
	})
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "husk_agent_build_info", Help: "1, with the agent's version.", ConstLabels: prometheus.Labels{"version": version.Number()},
	})
	built.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(built, m.heartbeat, m.reconcile, m.starts, m.deaths, m.samples, m.floods, m.unknown, m.logDropped, m.desiredErrors, a.reports.refused, a.names.Metrics(), pods, restored, broken, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return m
}
