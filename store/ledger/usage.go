// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// maxUsageRows is the largest number of rows in one response.
const maxUsageRows = 100_000

// Usage returns the usage of a tenant, or of all tenants if tenantID is nil. Codes: too_large.
func Usage(ctx context.Context, q *db.Queries, tenantID *uuid.UUID, u husk.UsageQuery) ([]husk.Usage, error) {
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
			CPUCoreSeconds: r.CpuMilliSeconds / 1000, MemoryGiBSeconds: r.MemoryMibSeconds / 1024, VolumeGiBSeconds: r.VolumeGibSeconds, ScratchGiBSeconds: r.ScratchGibSeconds,
			NetworkReceivedBytes: r.ReceivedBytes, NetworkSentBytes: r.SentBytes, NetworkOutsideReceivedBytes: r.OutsideReceived, NetworkOutsideSentBytes: r.OutsideSent,
		}
	}), nil
}
