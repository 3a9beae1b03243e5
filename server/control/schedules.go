// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"husk/store/disks"
)

// schedulesBatch is how many volumes one pass takes snapshots of.
const schedulesBatch = 100

// schedules requests the snapshots that the schedules of volumes ask for.
type schedules struct {
	copies disks.Copies
	log    *slog.Logger
	taken  *prometheus.CounterVec
}

// pass continues after a volume that fails, so that it does not keep others from their snapshots.
func (s *schedules) pass(ctx context.Context, epoch int64) error {
	due, err := s.copies.Due(ctx, schedulesBatch)
	if err != nil {
		return err
	}
	var failed error
	for _, v := range due {
		taken, err := s.copies.TakeScheduled(ctx, epoch, v.TenantID, v.ID)
		switch {
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("scheduled snapshot of volume %s: %w", v.ID, err))
			continue
		case !taken:
			s.taken.WithLabelValues("skipped").Inc()
			s.log.Info("a scheduled snapshot is not possible now", "tenant", v.TenantID, "volume", v.ID)
		default:
			s.taken.WithLabelValues("ok").Inc()
		}
	}
	if failed == nil && len(due) == schedulesBatch {
		return ErrMore
	}
	return failed
}
