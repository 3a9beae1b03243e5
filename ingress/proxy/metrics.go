// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics returns a handler with the metrics of this process, for the operator. Tenants have their own in the API.
func Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

var (
	hostsDesc    = prometheus.NewDesc("husk_ingress_hosts", "Hosts of ingresses, by the state of their certificate: ready, late (it should have been renewed), pending or failed.", []string{"state"}, nil)
	readDesc     = prometheus.NewDesc("husk_ingress_table_age_seconds", "How long ago the process has read the ingresses.", nil, nil)
	requestsDesc = prometheus.NewDesc("husk_ingress_process_requests_total", "Requests to hosts of ingresses, by the class of their status.", []string{"code"}, nil)
	underWayDesc = prometheus.NewDesc("husk_ingress_process_requests_under_way", "Requests that have not ended.", nil, nil)
)

// collector reads the metrics when they are asked for.
type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- hostsDesc
	ch <- readDesc
	ch <- requestsDesc
	ch <- underWayDesc
}

// Collect implements prometheus.Collector.
func (collector) Collect(ch chan<- prometheus.Metric) {
	p := running.Load()
	if p == nil || p.table.Load() == nil {
		return
	}
	t := p.table.Load()
	for state, n := range t.states(p.renewalShare(), time.Now()) {
		ch <- prometheus.MustNewConstMetric(hostsDesc, prometheus.GaugeValue, float64(n), state)
	}
	ch <- prometheus.MustNewConstMetric(readDesc, prometheus.GaugeValue, time.Since(t.read).Seconds())
	for i, n := range p.traffic.totals() {
		ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), []string{"1xx", "2xx", "3xx", "4xx", "5xx"}[i])
	}
	ch <- prometheus.MustNewConstMetric(underWayDesc, prometheus.GaugeValue, float64(p.use.underWay()))
}

// states counts the hosts by the state of their certificates. A certificate is late when half of the time has passed in which it should be renewed.
func (t *table) states(renewalShare float64, now time.Time) map[string]int {
	states := map[string]int{"ready": 0, "late": 0, "pending": 0, "failed": 0}
	for _, h := range t.hosts {
		c := h.Certificate
		switch {
		case c.ExpiresAt == nil && c.Failures == 0:
			states["pending"]++
		case c.ExpiresAt == nil || c.IssuedAt == nil || c.ExpiresAt.Before(now):
			states["failed"]++
		case c.ExpiresAt.Sub(now) < time.Duration(float64(c.ExpiresAt.Sub(*c.IssuedAt))*renewalShare/2):
			states["late"]++
		default:
			states["ready"]++
		}
	}
	return states
}
