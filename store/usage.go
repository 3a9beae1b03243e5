// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"slices"
	"time"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// closingMargin is how long after its end an hour is closed. Reports that arrive until then are recorded in their own hour.
const closingMargin = 10 * time.Minute

// maxUsageRows is the largest number of rows in one response.
const maxUsageRows = 100_000

// MisdatedRun is a run of a pod's virtual machine with an impossible start: before the pod was placed, or in the future.
type MisdatedRun struct {
	PodID               ID
	StartedAt, PlacedAt time.Time
}

// RecordRuns records the runs of virtual machines that a node's agent reports. A run is recorded once, however often it is reported. Runs
// of pods that are not on the node are dropped. RecordRuns returns the runs with impossible dates, which it did not record: most likely the
// node's clock is wrong.
func (c Control) RecordRuns(ctx context.Context, node ID, runs []husk.MachineRun) ([]MisdatedRun, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	begin, end, traffic := db.BeginRunsParams{NodeID: node}, db.EndRunsParams{NodeID: node}, db.CountTrafficParams{NodeID: node}
	for _, r := range runs {
		begin.PodIds, begin.Starts = append(begin.PodIds, r.PodID), append(begin.Starts, r.StartedAt)
		if r.StoppedAt != nil {
			end.PodIds, end.Starts, end.Stops = append(end.PodIds, r.PodID), append(end.Starts, r.StartedAt), append(end.Stops, *r.StoppedAt)
		}
		if r.ReceivedBytes > 0 || r.SentBytes > 0 {
			traffic.PodIds, traffic.Starts = append(traffic.PodIds, r.PodID), append(traffic.Starts, r.StartedAt)
			traffic.Received, traffic.Sent = append(traffic.Received, r.ReceivedBytes), append(traffic.Sent, r.SentBytes)
		}
	}
	return inControl(ctx, c.core, func(q *db.Queries) ([]MisdatedRun, error) {
		refused, err := q.BeginRuns(ctx, begin)
		if err != nil {
			return nil, err
		}
		if err := q.CountTraffic(ctx, traffic); err != nil { // before the run ends, because the traffic came before the end
			return nil, err
		}
		return convert.All(refused, func(r db.BeginRunsRow) MisdatedRun { return MisdatedRun{r.ID, r.StartedAt, r.PlacedAt} }), q.EndRuns(ctx, end)
	})
}

// CloseUsageHours closes the hours that ended long enough ago, and returns how many. It does nothing if another server leads.
func (c Control) CloseUsageHours(ctx context.Context, epoch int64, now time.Time) (closed int, err error) {
	for {
		more, err := inControl(ctx, c.core, func(q *db.Queries) (bool, error) {
			hour, err := q.NextHourToClose(ctx)
			if err != nil || hour.Add(time.Hour+closingMargin).After(now) {
				return false, err
			}
			if _, err := q.CheckEpoch(ctx, epoch); err != nil {
				return false, ignoreNoRows(err)
			}
			_, err = q.CloseHour(ctx, db.CloseHourParams{Epoch: epoch, Hour: hour})
			return true, err
		})
		if err != nil || !more {
			return closed, err
		}
		closed++
	}
}

// Usage returns the tenant's usage by period and group. Codes: too_large.
func (t Tenant) Usage(ctx context.Context, u husk.UsageQuery) ([]husk.Usage, error) {
	return inTenant(ctx, t, func(q *db.Queries) ([]husk.Usage, error) { return usage(ctx, q, &t.id, u) })
}

// Usage returns the usage of all tenants. Codes: too_large.
func (c Control) Usage(ctx context.Context, u husk.UsageQuery) ([]husk.Usage, error) {
	return inControl(ctx, c.core, func(q *db.Queries) ([]husk.Usage, error) { return usage(ctx, q, nil, u) })
}

func usage(ctx context.Context, q *db.Queries, tenantID *ID, u husk.UsageQuery) ([]husk.Usage, error) {
	next, err := q.NextHourToClose(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := q.Usage(ctx, db.UsageParams{
		TenantID: tenantID, FromHour: u.From, ToHour: u.To, Period: string(u.Period), GroupBy: string(u.GroupBy), Label: u.Label, Max: maxUsageRows + 1,
	})
	if err != nil {
		return nil, err
	}
	if len(rows) > maxUsageRows {
		return nil, husk.Errorf(husk.CodeTooLarge, "", "the response would have more than %d rows; choose a shorter time range, longer periods or fewer groups", maxUsageRows)
	}
	return convert.All(rows, func(r db.UsageRow) husk.Usage {
		from, to := r.Period.UTC(), u.To
		switch u.Period {
		case husk.UsageHourly:
			to = from.Add(time.Hour)
		case husk.UsageDaily:
			from = slices.MaxFunc([]time.Time{from, u.From}, time.Time.Compare)
			to = slices.MinFunc([]time.Time{r.Period.UTC().Add(24 * time.Hour), u.To}, time.Time.Compare)
		case husk.UsageTotal:
		}
		return husk.Usage{
			From: from, To: to, Closed: !to.After(next), Key: r.Key, Name: r.Name, Kind: r.Kind, PodSeconds: r.PodSeconds,
			CPUCoreSeconds: r.CpuMilliSeconds / 1000, MemoryGiBSeconds: r.MemoryMibSeconds / 1024, VolumeGiBSeconds: r.VolumeGibSeconds,
			NetworkReceivedBytes: r.ReceivedBytes, NetworkSentBytes: r.SentBytes,
		}
	}), nil
}
