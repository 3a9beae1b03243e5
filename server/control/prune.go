// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"husk/store"
)

// pruning deletes rows that are past their retention.
type pruning struct{ store store.Control }

func (s *pruning) pass(ctx context.Context, _ int64) error {
	var failures []error
	for _, forget := range []func(context.Context) (int64, error){
		s.store.ForgetIdempotencyKeys, s.store.ForgetExpiredKeys, s.store.ForgetRateBuckets, s.store.ForgetSamples,
		s.store.ForgetDesiredChanges,
	} {
		_, err := forget(ctx)
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// partitions tends the tables that are partitioned by month.
type partitions struct {
	store   store.Control
	log     *slog.Logger
	outside *prometheus.GaugeVec
}

func (s *partitions) pass(ctx context.Context, _ int64) error {
	made, dropped, outside, err := s.store.TendPartitions(ctx)
	if made > 0 || dropped > 0 {
		s.log.Info("tended the partitions", "made", made, "dropped", dropped)
	}
	for table, n := range outside {
		s.outside.WithLabelValues(table).Set(float64(n))
	}
	return err
}
