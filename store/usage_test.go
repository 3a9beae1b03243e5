// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"math"
	"testing"
	"time"

	"husk"
	"husk/store"
)

// used sums the usage of a tenant in a period, and reports whether all of it is closed.
func (h fixture) used(tenant husk.Tenant, from, to time.Time) (sum husk.Usage, closed bool) {
	h.t.Helper()
	rows, err := h.as(tenant.ID).Usage(h.t.Context(), husk.UsageQuery{From: from, To: to, Period: husk.UsageHourly, GroupBy: husk.UsageByNothing})
	closed = true
	for _, u := range must(h.t, rows, err) {
		sum.PodSeconds += u.PodSeconds
		sum.CPUCoreSeconds += u.CPUCoreSeconds
		sum.VolumeGiBSeconds += u.VolumeGiBSeconds
		sum.ScratchGiBSeconds += u.ScratchGiBSeconds
		sum.NetworkSentBytes += u.NetworkSentBytes
		sum.NetworkReceivedBytes += u.NetworkReceivedBytes
		sum.NetworkOutsideSentBytes += u.NetworkOutsideSentBytes
		sum.NetworkOutsideReceivedBytes += u.NetworkOutsideReceivedBytes
		closed = closed && u.Closed
	}
	return sum, closed
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.01 }

// backdate moves a pod's placement back in time, so that its machine may have started before now.
func (h fixture) backdate(pod husk.Pod, by time.Duration) {
	h.t.Helper()
	if _, err := h.connect(store.RoleControl).Exec(h.t.Context(), "UPDATE pods SET placed_at = placed_at - $2::interval WHERE id = $1", pod.ID, by); err != nil {
		h.t.Fatal(err)
	}
}

// An interval is recorded once, from its start to its end, however often the agent reports it, and
// even if the agent reports the end after the pod was deleted.
func TestAUsageIntervalIsRecordedOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node, other := h.tenant(), h.node(2), h.node(1)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	h.backdate(pod, 3*time.Hour)
	hour := time.Now().UTC().Truncate(time.Hour)
	start := hour.Add(-90 * time.Minute)
	record := func(node store.ID, runs ...husk.MachineRun) {
		t.Helper()
		for range 2 {
			if _, err := h.RecordRuns(t.Context(), node, runs); err != nil {
				t.Fatal(err)
			}
		}
	}
	run := husk.MachineRun{PodID: pod.ID, StartedAt: start, Traffic: husk.Traffic{SentBytes: 100, ReceivedBytes: 7, OutsideSentBytes: 60, OutsideReceivedBytes: 9}} // more outside than in all is not possible
	record(other.ID, run)                                                                                                                                           // the pod is not on this node
	record(node.ID, husk.MachineRun{PodID: pod.ID, StartedAt: start.Add(-24 * time.Hour)}, husk.MachineRun{PodID: pod.ID, StartedAt: time.Now().Add(time.Hour)})
	if got, _ := h.used(tenant, hour.Add(-48*time.Hour), hour.Add(2*time.Hour)); got.PodSeconds != 0 {
		t.Errorf("intervals from another node or at impossible times add %v seconds", got.PodSeconds)
	}
	record(node.ID, run)
	run.SentBytes, run.OutsideSentBytes = 250, 50 // what is outside has begun again
	record(node.ID, run)
	h.bringTo(husk.PhaseStopping, node, pod)
	stopped := start.Add(85 * time.Minute)
	run.StoppedAt = &stopped
	record(node.ID, run)
	h.report(node.ID, pod, husk.EventGone)
	late := stopped.Add(time.Minute)
	run.StoppedAt = &late
	record(node.ID, run)
	got, closed := h.used(tenant, hour.Add(-3*time.Hour), hour.Add(time.Hour))
	if !near(got.PodSeconds, 5100) || !near(got.CPUCoreSeconds, 5100*0.5) || got.NetworkSentBytes != 250 || got.NetworkReceivedBytes != 7 || got.NetworkOutsideSentBytes != 60 || got.NetworkOutsideReceivedBytes != 7 || closed {
		t.Errorf("the recorded usage is %+v", got)
	}
	byHour := func(from time.Time) float64 { u, _ := h.used(tenant, from, from.Add(time.Hour)); return u.PodSeconds }
	if a, b, c := byHour(hour.Add(-2*time.Hour)), byHour(hour.Add(-time.Hour)), byHour(hour); !near(a, 1800) || !near(b, 3300) || !near(c, 0) {
		t.Errorf("the hourly usage is %v, %v, %v", a, b, c)
	}
}

// A closed hour never changes. Late corrections are recorded in the next open hour, as a negative
// amount if necessary, so that the sum is correct.
func TestAClosedHourNeverChanges(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	image := h.image(tenant)
	pod, late := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, pod, late)
	h.backdate(pod, 6*time.Hour)
	h.backdate(late, 6*time.Hour)
	hour := time.Now().UTC().Truncate(time.Hour)
	first, second := hour.Add(-3*time.Hour), hour.Add(-2*time.Hour)
	start := first.Add(30 * time.Minute)
	record := func(r husk.MachineRun) {
		t.Helper()
		if _, err := h.RecordRuns(t.Context(), node.ID, []husk.MachineRun{r}); err != nil {
			t.Fatal(err)
		}
	}
	closeHours := func(now time.Time, want int) {
		t.Helper()
		if n, err := h.CloseUsageHours(t.Context(), h.epoch(), now); err != nil || n != want {
			t.Errorf("%d hours were closed, want %d: %v", n, want, err)
		}
	}
	in := func(from time.Time) (float64, bool) {
		u, closed := h.used(tenant, from, from.Add(time.Hour))
		return u.PodSeconds, closed
	}

	record(husk.MachineRun{PodID: pod.ID, StartedAt: start})
	closeHours(second.Add(9*time.Minute), 0) // the hour is still open for late reports
	if n, err := h.CloseUsageHours(t.Context(), h.epoch()+1, second.Add(11*time.Minute)); err != nil || n != 0 {
		t.Errorf("a server that does not lead closed %d hours: %v", n, err)
	}
	closeHours(second.Add(11*time.Minute), 1)
	if got, closed := in(first); !near(got, 1800) || !closed {
		t.Errorf("the first hour has %v, closed is %v", got, closed)
	}
	// Two late reports: the pod ended before the end of the hour, and another pod ran in it.
	stopped := start.Add(10 * time.Minute)
	record(husk.MachineRun{PodID: pod.ID, StartedAt: start, StoppedAt: &stopped})
	lateStop := start.Add(5 * time.Minute)
	record(husk.MachineRun{PodID: late.ID, StartedAt: start, StoppedAt: &lateStop})
	want := -1200.0 + 300
	if got, _ := in(first); !near(got, 1800) {
		t.Errorf("the closed hour has changed to %v", got)
	}
	if got, closed := in(second); !near(got, want) || closed {
		t.Errorf("the open hour has %v, want the correction %v", got, want)
	}
	closeHours(hour.Add(11*time.Minute), 2)
	closeHours(hour.Add(11*time.Minute), 0)
	if got, closed := in(second); !near(got, want) || !closed {
		t.Errorf("the closed hour with the correction has %v", got)
	}
	if got, _ := h.used(tenant, first, hour.Add(time.Hour)); !near(got.PodSeconds, 900) {
		t.Errorf("the sum is %v", got.PodSeconds)
	}
	for _, sql := range []string{"UPDATE usage_hours SET seconds = 0", "DELETE FROM usage_intervals", "UPDATE usage_ends SET ended_at = now()", "TRUNCATE usage_closed_hours CASCADE"} {
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), sql); err == nil {
			t.Errorf("%s was not refused", sql)
		}
	}
}

// A scratch disk is recorded with its pod's runs, unless its node makes none.
func TestScratchDisksAreRecorded(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, with, without := h.tenant(), h.node(1), h.node(1)
	image := h.image(tenant)
	with.ScratchGiB = new(100)
	h.heartbeat(with)
	start := time.Now().UTC().Truncate(time.Hour).Add(-90 * time.Minute)
	stop := start.Add(10 * time.Minute)
	for _, node := range []husk.Node{with, without} {
		pod := h.createPod(tenant, specOf(image))
		h.place(node.ID, pod)
		h.backdate(pod, 3*time.Hour)
		if _, err := h.RecordRuns(t.Context(), node.ID, []husk.MachineRun{{PodID: pod.ID, StartedAt: start, StoppedAt: &stop}}); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := h.used(tenant, start.Add(-time.Hour).Truncate(time.Hour), start.Add(24*time.Hour).Truncate(time.Hour))
	if !near(got.PodSeconds, 1200) || !near(got.ScratchGiBSeconds, 600*husk.DefaultScratchGiB) || got.VolumeGiBSeconds != 0 {
		t.Errorf("two runs of ten minutes, one of them with a disk, are recorded as %+v", got)
	}
	if cost := (husk.PriceList{ScratchGiBHour: 0.6}).Cost(got); !near(cost, 1) {
		t.Errorf("they cost %v", cost)
	}
}

func TestVolumesAreRecordedFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, stranger := h.tenant(), h.tenant()
	volume := h.volume(tenant)
	from, to := time.Now().UTC().Truncate(time.Hour), time.Now().UTC().Truncate(time.Hour).Add(2*time.Hour)
	rows, err := h.as(tenant.ID).Usage(t.Context(), husk.UsageQuery{From: from, To: to, Period: husk.UsageTotal, GroupBy: husk.UsageByObject})
	if must(t, rows, err); len(rows) != 1 || rows[0].Key != volume.ID.String() || rows[0].Name != volume.Name || rows[0].Kind != "volume" || rows[0].VolumeGiBSeconds <= 0 || rows[0].PodSeconds != 0 {
		t.Errorf("the usage is %+v", rows)
	}
	gone, err := h.as(tenant.ID).DeleteVolume(t.Context(), volume.ID)
	must(t, gone, err)
	for range 2 {
		if err := h.VolumeRemoved(t.Context(), volume); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := h.used(tenant, from, to)
	if after, _ := h.used(tenant, from, to); after.VolumeGiBSeconds != before.VolumeGiBSeconds || after.VolumeGiBSeconds <= 0 {
		t.Errorf("a deleted volume has %v and then %v", before.VolumeGiBSeconds, after.VolumeGiBSeconds)
	}
	if other, _ := h.used(stranger, from, to); other.VolumeGiBSeconds != 0 {
		t.Errorf("another tenant gets %v", other.VolumeGiBSeconds)
	}
	all, err := h.Usage(t.Context(), husk.UsageQuery{From: from, To: to, Period: husk.UsageDaily, GroupBy: husk.UsageByTenant})
	if must(t, all, err); len(all) != 1 || all[0].Key != tenant.ID.String() {
		t.Errorf("the usage of all tenants is %+v", all)
	}
}
