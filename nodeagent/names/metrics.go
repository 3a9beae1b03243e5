// SPDX-License-Identifier: Apache-2.0

package names

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of queries.
const (
	answered   = "answered"  // from the zone, also that a name does not exist
	passedOn   = "forwarded" // answered by an upstream resolver
	notAllowed = "refused"   // names outside of the zone may not be resolved
	limited    = "limited"   // the client sends too many
	malformed  = "malformed"
	stranger   = "stranger" // the client is not in the network
	failed     = "failed"
)

// Metrics are the metrics of all name servers of a node, for the operator.
type Metrics struct {
	queries *prometheus.CounterVec
	forward prometheus.Histogram
	zones   prometheus.Gauge
	errors  prometheus.Counter
}

// NewMetrics makes the metrics, which are not registered yet.
func NewMetrics() *Metrics {
	m := &Metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "husk_agent_names_queries_total", Help: "DNS queries of pods, by what became of them."}, []string{"result"}),
		forward: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "husk_agent_names_forward_duration_seconds", Help: "Time that the operator's resolvers took to answer a DNS query of a pod, in seconds.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
		}),
		zones:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_agent_names_zones", Help: "Networks whose names this node knows."}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_agent_names_errors_total", Help: "Times that the agent could not get the names of its networks from a server."}),
	}
	for _, result := range []string{answered, passedOn, notAllowed, limited, malformed, stranger, failed} {
		m.queries.WithLabelValues(result)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.queries.Collect(ch)
	m.forward.Collect(ch)
	m.zones.Collect(ch)
	m.errors.Collect(ch)
}

func (m *Metrics) count(result string) { m.queries.WithLabelValues(result).Inc() }

func (m *Metrics) took(d time.Duration) { m.forward.Observe(d.Seconds()) }
