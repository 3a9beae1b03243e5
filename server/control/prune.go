// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"

	"husk/store"
)

// pruning deletes rows that are past their retention.
type pruning struct{ store store.Control }

func (s *pruning) pass(ctx context.Context, _ int64) error {
	var failures []error
	for _, forget := range []func(context.Context) (int64, error){
		s.store.ForgetIdempotencyKeys, s.store.ForgetEvents, s.store.ForgetExpiredKeys, s.store.ForgetRateBuckets, s.store.ForgetSamples,
		s.store.ForgetDesiredChanges,
	} {
		_, err := forget(ctx)
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
