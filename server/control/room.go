// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"husk"
	"husk/scheduler"
	"husk/store"
	"husk/store/moves"
)

const (
	// stays is how long a pod that could not be moved is left where it is.
	stays = 10 * time.Minute
	// rests is how long a pod stays that was moved, so that a tenant that creates and deletes large pods cannot move the others' all the time. After
	// each move in a row that failed, it stays twice as long, up to restsMost.
	rests     = time.Hour
	restsMost = 24 * time.Hour
	// movesPerHour limits all these moves together, so that a large cluster does not move pods all the time. A pod of openb_pods_multigpu40 that
	// moves has 26 GiB of memory on average, so 100 moves an hour copy 6 Gbit/s in the whole cluster.
	movesPerHour = 100
)

// room moves running pods so that a waiting pod fits.
type room struct {
	most   int                   // moves for one waiting pod; 0 moves none
	stays  map[store.PodKey]stay // pods that do not move for now
	budget *rate.Limiter         // of all moves
}

// stay is how long a pod stays where it is, and why.
type stay struct {
	until    time.Time
	from     store.ID // the node that the pod was to leave, if a move has begun and nobody has checked yet how it ended
	failures int      // moves in a row that failed
}

func newRoom(most int) room {
	return room{most: most, stays: map[store.PodKey]stay{}, budget: rate.NewLimiter(rate.Every(time.Hour/movesPerHour), max(movesPerHour, most))}
}

// makeRoom begins moves for the refused pod with the highest priority, as long as no other moves are under way. The pod is retried when they have
// freed capacity. Nothing is reserved for it, so a pod that arrives in the meantime may be placed there. All pods move with their memory: their
// tenants gain nothing from the move, so they must not notice it.
func (p *scheduling) makeRoom(ctx context.Context, epoch int64, pods []scheduler.Pod, refusals []*scheduler.Refusal) error {
	now, x := time.Now(), p.index
	most := min(p.room.most, int(p.room.budget.TokensAt(now)))
	pod := p.refusedFirst(pods, refusals)
	if most < 1 || pod == nil {
		return nil
	}
	if open, err := p.store.Moves().Open(ctx); err != nil || len(open) > 0 {
		return err
	}
	p.room.check(now, x.nodeOfPod)
	_, plan, ok := x.fleet.MakeRoom(pod, most, func(h scheduler.Handle) bool {
		key, known := x.keys[h]
		return known && !now.Before(p.room.stays[key].until)
	})
	if !ok {
		return nil
	}
	starts, err := p.starts(ctx, plan, now)
	if err != nil {
		return err
	}
	charged := map[store.ID]int64{} // how often a node was charged, which increases its version
	for _, move := range starts {
		key := store.PodKey{TenantID: move.TenantID, ID: move.PodID}
		move.ToVersion += charged[move.To]
		begun, err := p.store.Moves().Begin(ctx, &epoch, move)
		if err != nil {
			return err
		}
		if !begun { // something has changed, and the next refusal decides again
			p.room.refused(key, now)
			return nil
		}
		charged[move.To]++
		p.room.begun(key, move.From, now)
		p.metrics.roomMoves.Inc()
		p.log.Info("a pod moves so that a pod that waits fits", "tenant", key.TenantID, "pod", key.ID, "from", move.FromName, "to", move.ToName)
	}
	return nil
}

// starts returns the moves of a plan, or none if one of them is not possible: the others would be for nothing.
func (p *scheduling) starts(ctx context.Context, plan []scheduler.Move, now time.Time) ([]moves.Start, error) {
	all := make([]moves.Start, 0, len(plan))
	for _, m := range plan {
		key, to := p.index.keys[m.Pod], p.index.byAt[m.To]
		on, err := p.store.Moves().Pod(ctx, key.TenantID, key.ID)
		if code := husk.CodeOf(err); code == husk.CodeNotFound || code == husk.CodeConflict {
			return nil, nil // it has ended
		} else if err != nil {
			return nil, err
		}
		on.Unnoticed = true
		move, why := p.index.elsewhere(on, &to)
		if why != "" {
			p.log.Info("a pod cannot be moved for a pod that waits", "tenant", key.TenantID, "pod", key.ID, "reason", why)
			p.room.refused(key, now)
			return nil, nil
		}
		all = append(all, move)
	}
	return all, nil
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

// begun records that a pod begins to leave a node.
func (r *room) begun(key store.PodKey, from store.ID, now time.Time) {
	r.budget.AllowN(now, 1)
	failures := r.stays[key].failures
	r.stays[key] = stay{until: now.Add(restAfter(failures)), from: from, failures: failures}
}

// refused records that no move of a pod could begin.
func (r *room) refused(key store.PodKey, now time.Time) {
	r.stays[key] = stay{until: now.Add(stays), failures: r.stays[key].failures}
}

// check finds out how moves have ended whose pods have stayed long enough: they failed if the pod is still on the node that it was to leave. It has
// to stay longer then. All other pods that have stayed long enough are forgotten, those with failures after another restsMost.
func (r *room) check(now time.Time, nodeOf func(store.PodKey) store.ID) {
	for key, s := range r.stays {
		if now.Before(s.until) {
			continue
		}
		switch failed := s.from != (store.ID{}) && nodeOf(key) == s.from; {
		case failed:
			r.stays[key] = stay{until: s.until.Add(restAfter(s.failures+1) - restAfter(s.failures)), failures: s.failures + 1}
		case s.from != (store.ID{}) || s.failures == 0 || now.Sub(s.until) > restsMost:
			delete(r.stays, key)
		}
	}
}

// restAfter returns how long a pod stays after so many moves in a row that failed.
func restAfter(failures int) time.Duration {
	return min(rests<<min(failures, 5), restsMost)
}
