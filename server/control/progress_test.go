// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestACopyEndsWhenItsObjectIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var result error
		copying, progress, stop := percentOf(t.Context(), store.Work{}, slog.New(slog.DiscardHandler), func(context.Context, uuid.UUID, uuid.UUID, int) error { return result })
		defer stop()
		for _, c := range []struct {
			recorded error
			goesOn   bool
		}{{nil, true}, {errors.New("no connection"), true}, {husk.NotFound("volume"), false}} {
			result = c.recorded
			time.Sleep(progressEvery)
			progress(1, 2)
			if goesOn := copying.Err() == nil; goesOn != c.goesOn {
				t.Errorf("after %v, the copy goes on: %v", c.recorded, goesOn)
			}
		}
		if err := context.Cause(copying); husk.CodeOf(err) != husk.CodeNotFound {
			t.Errorf("the copy ended because of %v", err)
		}
	})
}
