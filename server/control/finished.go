// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"

	"husk/store"
)

// finished deletes pods whose time after their end has passed (ttlSecondsAfterFinished).
type finished struct {
	store store.Control
	log   *slog.Logger
}

func (s *finished) pass(ctx context.Context, epoch int64) error {
	pods, err := s.store.DeleteFinishedPods(ctx, epoch)
	for _, p := range pods {
		s.log.Info("deleting a pod whose time after its end has passed", "tenant", p.TenantID, "pod", p.ID)
	}
	if err == nil && len(pods) > 0 {
		return ErrMore
	}
	return err
}
