// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

const (
	// stays is how long a pod that could not be moved is left where it is.
	stays = 10 * time.Minute
	// rests is how long a pod stays that was moved, so that a tenant that creates and deletes large pods cannot move the others' all the time.
	rests = time.Hour
)

// room moves running pods so that a waiting pod fits.
type room struct {
	most  int                        // moves for one waiting pod; 0 moves none
	stays map[store.PodKey]time.Time // pods that do not move, and until when
}

// makeRoom begins moves for the refused pod with the highest priority, as long as no other moves are under way. The pod is retried when they have
// freed capacity. Nothing is reserved for it, so a pod that arrives in the meantime may be placed there. All pods move with their memory: their
// tenants gain nothing from the move, so they must not notice it.
func (p *scheduling) makeRoom(ctx context.Context, epoch int64, pods []scheduler.Pod, refusals []*scheduler.Refusal) error {
	pod := p.refusedFirst(pods, refusals)
	if p.room.most == 0 || pod == nil {
		return nil
	}
	if open, err := p.store.Moves().Open(ctx); err != nil || len(open) > 0 {
		return err
	}
	now, x := time.Now(), p.index
	_, plan, ok := x.fleet.MakeRoom(pod, p.room.most, func(h scheduler.Handle) bool {
		key, known := x.keys[h]
		return known && !now.Before(p.room.stays[key])
	})
	if !ok {
		return nil
	}
	charged := map[int]int64{} // how often a node was charged, which increases its version
	for _, m := range plan {
		key, to := x.keys[m.Pod], x.byAt[m.To]
		on, err := p.store.Moves().Pod(ctx, key.TenantID, key.ID)
		if code := husk.CodeOf(err); code == husk.CodeNotFound || code == husk.CodeConflict {
			return nil // it has ended
		} else if err != nil {
			return err
		}
		on.Unnoticed = true
		move, why := x.elsewhere(on, &to)
		if why != "" {
			p.log.Info("a pod cannot be moved for a pod that waits", "tenant", key.TenantID, "pod", key.ID, "reason", why)
			p.room.stay(key, now.Add(stays), now)
			return nil
		}
		move.ToVersion += charged[m.To]
		begun, err := p.store.Moves().Begin(ctx, &epoch, move)
		if err != nil || !begun {
			return err // something has changed, and the next refusal decides again
		}
		charged[m.To]++
		p.room.stay(key, now.Add(rests), now)
		p.metrics.roomMoves.Inc()
		p.log.Info("a pod moves so that a pod that waits fits", "tenant", key.TenantID, "pod", key.ID, "from", move.FromName, "to", move.ToName)
	}
	return nil
}

// refusedFirst returns the refused pod with the highest priority for which moves may help, or nil. Of equal priorities, it is the oldest.
func (p *scheduling) refusedFirst(pods []scheduler.Pod, refusals []*scheduler.Refusal) (first *scheduler.Pod) {
	for i, r := range refusals {
		if r == nil || r.NeverFits || pods[i].Gang != "" || first != nil && pods[i].Priority <= first.Priority {
			continue
		}
		switch r.Reason { //nolint:exhaustive // moves do not help the others
		case scheduler.InsufficientCPU, scheduler.InsufficientMemory, scheduler.Insufficient:
			first = &pods[i]
		}
	}
	return first
}

// stay leaves a pod where it is for a while.
func (r *room) stay(key store.PodKey, until, now time.Time) {
	for k, end := range r.stays {
		if now.After(end) {
			delete(r.stays, k)
		}
	}
	r.stays[key] = until
}
