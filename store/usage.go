// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"husk"
	"husk/store/db"
	"husk/store/ledger"
)

// RecordRuns records the runs of virtual machines that a node's agent reports. A run is recorded once, however often it is reported. Runs
// of pods that are not on the node are dropped. RecordRuns returns the runs with impossible dates, which it did not record: most likely the
// node's clock is wrong.
func (c Control) RecordRuns(ctx context.Context, node ID, runs []husk.MachineRun) ([]ledger.MisdatedRun, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	return inControl(ctx, c, func(q *db.Queries) ([]ledger.MisdatedRun, error) { return ledger.Record(ctx, q, node, runs) })
}

// CloseUsageHours closes the hours that ended long enough ago, and returns how many. Each batch is one transaction, so that the next call
// continues after a crash. It does nothing if another server leads.
func (c Control) CloseUsageHours(ctx context.Context, epoch int64, now time.Time) (closed int, err error) {
	for size := ledger.FirstBatch; ; {
		began := time.Now()
		done, err := c.CloseUsageBatch(ctx, epoch, now, size)
		switch {
		case err != nil || done == ledger.Nothing:
			return closed, err
		case done == ledger.Hour:
			closed++
		case done == ledger.Batch:
			size = ledger.NextSize(size, time.Since(began))
		}
	}
}

// CloseUsageBatch closes the next part of an hour: so many intervals at most.
func (c Control) CloseUsageBatch(ctx context.Context, epoch int64, now time.Time, size int) (ledger.Closed, error) {
	return inControl(ctx, c, func(q *db.Queries) (ledger.Closed, error) { return ledger.CloseBatch(ctx, q, epoch, now, size) })
}

// Usage returns the tenant's usage by period and group. Codes: too_large.
func (t Tenant) Usage(ctx context.Context, u husk.UsageQuery) ([]husk.Usage, error) {
	return inTenantOf(ctx, t, t.pools.Reports, func(q *db.Queries) ([]husk.Usage, error) { return ledger.Usage(ctx, q, &t.id, u) })
}

// Usage returns the usage of all tenants. Codes: too_large.
func (c Control) Usage(ctx context.Context, u husk.UsageQuery) ([]husk.Usage, error) {
	return inControl(ctx, Control{c.core, c.pools.AdminReports}, func(q *db.Queries) ([]husk.Usage, error) { return ledger.Usage(ctx, q, nil, u) })
}
