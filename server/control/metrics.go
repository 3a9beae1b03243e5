// SPDX-License-Identifier: Apache-2.0

package control

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk/scheduler"
)

// metrics are those of the loops, for operators.
type metrics struct {
	loops      *prometheus.HistogramVec
	panics     *prometheus.CounterVec
	work       *prometheus.CounterVec
	tampered   prometheus.Counter
	orphans    prometheus.Counter
	unknown    prometheus.Gauge
	outside    *prometheus.GaugeVec
	queue      *prometheus.GaugeVec
	queueStuck *prometheus.GaugeVec
	queueWait  *prometheus.GaugeVec
	leading    prometheus.Gauge
	placements prometheus.Counter
	conflicts  prometheus.Counter
	refusals   *prometheus.CounterVec
	evictions  prometheus.Counter
	roomMoves  prometheus.Counter
	queueAge   prometheus.Gauge
	attempts   prometheus.Histogram
	latency    prometheus.Histogram
	stranded   *prometheus.GaugeVec
	fragments  *prometheus.GaugeVec
	average    prometheus.Gauge
	openNodes  prometheus.Gauge
	lost       prometheus.Counter
	fences     prometheus.Counter
	moved      prometheus.Counter
	unfenced   prometheus.Gauge
	brake      prometheus.Gauge
	drainPods  *prometheus.GaugeVec
	scheduled  *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		loops: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "husk_loop_duration_seconds", Help: "Duration of one pass of a control loop, by outcome.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"loop", "outcome"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_loop_panics_total", Help: "Panics in passes of a control loop. The pass is repeated.",
		}, []string{"loop"}),
		work: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_work_attempts_total", Help: "Attempts at work on one object outside Postgres, such as an import or the removal of a volume.",
		}, []string{"kind", "outcome"}),
		tampered: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_disk_headers_restored_total", Help: "Disks whose RBD header a pod had changed."}),
		orphans: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "husk_orphans_removed_total", Help: "Objects in Ceph without an owner that the hourly comparison found and removed. Others are removed at once.",
		}),
		unknown: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "husk_unknown_objects", Help: "Volumes, snapshots and images in Ceph that the database has never known, and that no operator has decided about.",
		}),
		outside: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "husk_rows_outside_partitions", Help: "Rows whose month has no partition. They are in the default partition, and nothing drops them.",
		}, []string{"table"}),
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "husk_work_objects", Help: "Objects that wait for work outside Postgres or are being worked on."}, []string{"kind"}),
		queueStuck: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "husk_work_stuck_objects", Help: "Objects whose work has failed so often that Husk retries it only every half an hour.",
		}, []string{"kind"}),
		queueWait: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "husk_work_queue_age_seconds", Help: "How long the oldest work has been due and no worker has been free for it.",
		}, []string{"kind"}),
		scheduled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_scheduled_snapshots_total", Help: "Snapshots that the schedules of volumes asked for: requested (ok), or not possible then (skipped).",
		}, []string{"outcome"}),
		leading:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_leading", Help: "1 while this server runs the control loops."}),
		placements: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_scheduler_placements_total", Help: "Pods placed by this server."}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "husk_scheduler_conflicts_total", Help: "Placements that the database refused because the pod, the node or the leader had changed.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_scheduler_refusals_total", Help: "Attempts to place a pod that found no node for it, by reason.",
		}, []string{"reason"}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_scheduler_evictions_total", Help: "Pods evicted in favour of a higher priority."}),
		roomMoves: prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_scheduler_moves_total", Help: "Moves of running pods that began so that a waiting pod fits."}),
		queueAge: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "husk_scheduler_queue_age_seconds", Help: "Age of the oldest pending pod that the last pass looked at; 0 if there was none.",
		}),
		attempts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "husk_scheduler_attempts", Help: "Attempts until a pod was placed, including the successful one.", Buckets: []float64{1, 2, 3, 5, 8, 13, 21},
		}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "husk_scheduler_latency_seconds", Help: "Time from the creation of a pod to its first placement.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
		}),
		stranded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "husk_scheduler_stranded_capacity", Help: "Free cpu in cores and free memory in bytes, on nodes in use, that pods of the usual sizes are expected to leave unused.",
		}, []string{"resource"}),
		fragments: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "husk_scheduler_fragmentation_ratio", Help: "Stranded capacity as a share of the free capacity of all ready nodes.",
		}, []string{"resource"}),
		average:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_scheduler_room_average_pods", Help: "Number of pods of the average size that would still fit."}),
		lost:      prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_nodes_lost_total", Help: "Nodes whose lease and margin ran out without a heartbeat."}),
		fences:    prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_nodes_fenced_total", Help: "Nodes that were cut off from Ceph."}),
		moved:     prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_failover_pods_total", Help: "Pods that were taken from lost nodes."}),
		unfenced:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_nodes_not_fenced", Help: "Lost nodes that could not be fenced, so that their pods with volumes are not moved."}),
		brake:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_failover_brake", Help: "1 while so many nodes are silent at once that no pods are moved."}),
		drainPods: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "husk_drain_pods", Help: "Pods on nodes that are being drained: all that are left, and those of them that cannot be moved."}, []string{"which"}),
		openNodes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_scheduler_nodes_in_use", Help: "Ready nodes that run at least one pod."}),
	}
	for _, reason := range scheduler.Reasons {
		m.refusals.WithLabelValues(string(reason))
	}
	registry.MustRegister(m.scheduled, m.loops, m.panics, m.work, m.tampered, m.orphans, m.unknown, m.outside, m.queue, m.queueStuck, m.queueWait, m.leading, m.placements, m.conflicts, m.refusals, m.evictions, m.roomMoves, m.queueAge, m.attempts, m.latency, m.stranded, m.fragments, m.average, m.openNodes,
		m.lost, m.fences, m.moved, m.unfenced, m.brake, m.drainPods)
	return m
}

// placed counts a pod that was placed.
func (m *metrics) placed(attempts int, first bool, since time.Duration) {
	m.placements.Inc()
	m.attempts.Observe(float64(attempts))
	if first {
		m.latency.Observe(since.Seconds())
	}
}

// waste shows how well the capacity is used.
func (m *metrics) waste(w scheduler.Waste) {
	const mib = 1 << 20
	m.stranded.WithLabelValues("cpu").Set(w.StrandedCPU / 1000)
	m.stranded.WithLabelValues("memory").Set(w.StrandedMemory * mib)
	m.fragments.WithLabelValues("cpu").Set(w.StrandedCPU / max(1, float64(w.Free.CPUMillis)))
	m.fragments.WithLabelValues("memory").Set(w.StrandedMemory / max(1, float64(w.Free.MemoryMiB)))
	m.average.Set(float64(w.AveragePods))
	m.openNodes.Set(float64(w.Open))
}
