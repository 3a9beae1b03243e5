package control

import (
	"context"
	"log/slog"
	"time"

	"husk/store"
)

// usage closes the hours of the usage ledger.
type usage struct {
	store store.Control
	log   *slog.Logger
}

// pass closes the hours of the ledger whose time has come.
func (s *usage) pass(ctx context.Context, epoch int64) error {
	closed, err := s.store.CloseUsageHours(ctx, epoch, time.Now())
	if closed > 0 {
		s.log.Info("closed hours of the ledger", "hours", closed)
	}
	return err
}
