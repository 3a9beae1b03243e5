package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// metrics are the server's own numbers, for the operator.
type metrics struct {
	handler    http.Handler
	requests   *prometheus.HistogramVec
	placements prometheus.Counter
	conflicts  prometheus.Counter
	loops      *prometheus.HistogramVec
	leading    prometheus.Gauge
	limited    prometheus.Counter
	watchers   prometheus.Gauge
	sessions   *prometheus.GaugeVec
	refusals   *prometheus.CounterVec
	queueAge   prometheus.Gauge
	evictions  prometheus.Counter
	attempts   prometheus.Histogram
	latency    prometheus.Histogram
	stranded   *prometheus.GaugeVec
	fragments  *prometheus.GaugeVec
	roomFor    prometheus.Gauge
	openNodes  prometheus.Gauge
}

func newMetrics(s *store.Store) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "husk_http_request_duration_seconds", Help: "Time to answer a request, by operation and status. Streams count until they end.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"operation", "status"}),
		placements: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_scheduler_placements_total", Help: "Pods placed by this server."}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "husk_scheduler_conflicts_total", Help: "Placements that the database refused because pod, node or leader had changed.",
		}),
		loops: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "husk_loop_duration_seconds", Help: "Time of one pass of a control loop, by outcome.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"loop", "outcome"}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_leading", Help: "1 while this server runs the control loops."}),
	}
	m.limited = prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_http_rate_limited_total", Help: "Requests refused because their tenant or address made too many."})
	m.watchers = prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_watchers", Help: "Streams with watch=true that this server serves."})
	m.sessions = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "husk_sessions", Help: "Interactive sessions that this server relays."}, []string{"operation"})
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "husk_scheduler_refusals_total", Help: "Times that a pod found no place, by reason."}, []string{"reason"})
	for _, reason := range scheduler.Reasons {
		m.refusals.WithLabelValues(string(reason))
	}
	m.evictions = prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_scheduler_evictions_total", Help: "Pods stopped to make room for a higher priority."})
	m.attempts = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "husk_scheduler_attempts", Help: "How often a pod was tried before it was placed, that time included.", Buckets: []float64{1, 2, 3, 5, 8, 13, 21},
	})
	m.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "husk_scheduler_latency_seconds", Help: "Time from a pod's order to its first placement.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
	})
	m.stranded = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "husk_scheduler_stranded_capacity", Help: "Free cpu in cores and memory in bytes on nodes in use that pods of the usual sizes are expected to leave unused.",
	}, []string{"resource"})
	m.fragments = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "husk_scheduler_fragmentation_ratio", Help: "Stranded capacity as a share of what is free on all ready nodes.",
	}, []string{"resource"})
	m.roomFor = prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_scheduler_room_average_pods", Help: "How many more pods of the average size would fit."})
	m.openNodes = prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_scheduler_nodes_in_use", Help: "Ready nodes that run something."})
	m.queueAge = prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_scheduler_queue_age_seconds", Help: "Age of the oldest pod that the last pass tried to place; 0 when there was none."})
	r := prometheus.NewRegistry()
	r.MustRegister(m.requests, m.placements, m.conflicts, m.loops, m.leading, m.limited, m.watchers, m.sessions, m.refusals, m.queueAge, m.evictions, m.attempts, m.latency, m.stranded,
		m.fragments, m.roomFor, m.openNodes, platform{s}, connections{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return m
}

// placed counts a pod that has a place.
func (m *metrics) placed(attempts int, first bool, since time.Duration) {
	m.placements.Inc()
	m.attempts.Observe(float64(attempts))
	if first {
		m.latency.Observe(since.Seconds())
	}
}

// waste shows how well the room is used.
func (m *metrics) waste(w scheduler.Waste) {
	const mib = 1 << 20
	m.stranded.WithLabelValues("cpu").Set(w.StrandedCPU / 1000)
	m.stranded.WithLabelValues("memory").Set(w.StrandedMemory * mib)
	m.fragments.WithLabelValues("cpu").Set(w.StrandedCPU / max(1, float64(w.Free.CPUMillis)))
	m.fragments.WithLabelValues("memory").Set(w.StrandedMemory / max(1, float64(w.Free.MemoryMiB)))
	m.roomFor.Set(float64(w.AveragePods))
	m.openNodes.Set(float64(w.Open))
}

// observe gives each request an id, counts it and logs it in one line; a panic in a handler is an internal error, not the end.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{id: uuid.NewString(), operation: "none"}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
		w.Header().Set("X-Request-Id", req.id)
		w.Header().Set("Cache-Control", "no-store") // tokens must not be kept (RFC 6749, 5.1), and nothing else here may be either
		start := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				s.log.Error("panic", "request_id", req.id, "operation", req.operation, "panic", p)
				s.writeProblem(rec, r, errPanic)
			}
			took := time.Since(start)
			s.metrics.requests.WithLabelValues(req.operation, strconv.Itoa(rec.status)).Observe(took.Seconds())
			s.log.Debug("request", "request_id", req.id, "operation", req.operation, "status", rec.status, "tenant", req.caller.TenantID, "took", took)
		}()
		next.ServeHTTP(rec, r)
	})
}

var errPanic = errors.New("a handler panicked")

// recorder remembers the status for metrics and lets streams flush.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func unavailable(err error) error {
	return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "a part of the platform does not answer; try again"), err)
}
