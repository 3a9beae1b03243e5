// SPDX-License-Identifier: Apache-2.0

// Package ledger records usage and closes its hours, in transactions of package store. The tables are described in migrations/006_usage.sql
// and migrations/013_ledger.sql.
package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/store/db"
)

// closingMargin is how long after its end an hour is closed. Reports that arrive until then are recorded in their own hour.
const closingMargin = 10 * time.Minute

// Sizes of the batches in which an hour is closed. The next batch is larger if one took less than half of batchTime, and smaller if one took
// longer. The first one is small, because the first closing after an upgrade sums the past of its intervals.
const (
	FirstBatch = 100
	maxBatch   = 5000
	batchTime  = 250 * time.Millisecond
)

// NextSize returns the size of the batch after one of this size that took so long.
func NextSize(size int, took time.Duration) int {
	switch {
	case took > batchTime:
		return max(size/2, 1)
	case took < batchTime/2:
		return min(2*size, maxBatch)
	}
	return size
}

// Closed is what a transaction has closed.
type Closed int

// The values of Closed.
const (
	Nothing Closed = iota // no hour is due, or another server leads
	Batch
	Hour // after its last batch
)

// CloseBatch records the usage of so many intervals until the end of the hour to close. It starts where the last batch ended, whichever
// server committed it.
func CloseBatch(ctx context.Context, q *db.Queries, epoch int64, now time.Time, size int) (Closed, error) {
	hour, err := q.NextHourToClose(ctx)
	if err != nil || hour.Add(time.Hour+closingMargin).After(now) {
		return Nothing, err
	}
	if _, err := q.CheckEpoch(ctx, epoch); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return Nothing, err
	}
	at, err := q.LockUsageClosing(ctx)
	if err != nil {
		return Nothing, err
	}
	if hour, err = q.NextHourToClose(ctx); err != nil || hour.Add(time.Hour+closingMargin).After(now) { // another server may have closed it meanwhile
		return Nothing, err
	}
	if !at.Hour.Equal(hour) {
		at.AfterInterval = 0
	}
	batch, err := q.LockUsageBatch(ctx, db.LockUsageBatchParams{After: at.AfterInterval, Max: size})
	if err != nil {
		return Nothing, err
	}
	if batch.Intervals == 0 {
		return Hour, q.MarkHourClosed(ctx, hour)
	}
	if err := q.SumRecorded(ctx, db.SumRecordedParams{After: at.AfterInterval, Last: batch.Last}); err != nil {
		return Nothing, err
	}
	if err := q.RecordUsageBatch(ctx, db.RecordUsageBatchParams{Hour: hour, HourEnd: hour.Add(time.Hour), After: at.AfterInterval, Last: batch.Last}); err != nil {
		return Nothing, err
	}
	if err := q.ForgetSettled(ctx, db.ForgetSettledParams{HourEnd: hour.Add(time.Hour), After: at.AfterInterval, Last: batch.Last}); err != nil {
		return Nothing, err
	}
	return Batch, q.ContinueClosing(ctx, db.ContinueClosingParams{Hour: hour, AfterInterval: batch.Last})
}
