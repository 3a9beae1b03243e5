// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"
	"time"

	"husk/store"
)

// usage closes hours of the usage ledger.
type usage struct {
	store store.Control
	log   *slog.Logger
}

// pass closes the hours that ended long enough ago.
func (s *usage) pass(ctx context.Context, epoch int64) error {
	closed, err := s.store.CloseUsageHours(ctx, epoch, time.Now())
	if closed > 0 {
		s.log.Info("closed hours of the ledger", "hours", closed)
	}
	return err
}
