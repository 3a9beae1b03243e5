package server

import (
	"log/slog"
	"sync"
	"time"

	"husk/store"
)

// clockWarningEvery is how often the log is told of one node's clock: the agent tells of its machines every few seconds.
const clockWarningEvery = 10 * time.Minute

// clockWarnings say which nodes date their machines' lives so that they cannot be. Nothing is booked for those.
type clockWarnings struct {
	mu   sync.Mutex
	last map[store.ID]time.Time // by node
}

func (c *clockWarnings) warn(log *slog.Logger, node store.ID, runs []store.MisdatedRun, now time.Time) {
	if len(runs) == 0 {
		return
	}
	c.mu.Lock()
	due := now.Sub(c.last[node]) >= clockWarningEvery
	if due {
		c.last[node] = now
	}
	c.mu.Unlock()
	if due {
		log.Warn("a node says that machines were started before their pods were placed, or later than now; their usage is not counted. Most likely the node's clock is wrong: set it",
			"node", node, "pod", runs[0].PodID, "started_at", runs[0].StartedAt, "placed_at", runs[0].PlacedAt, "now", now, "machines", len(runs))
	}
}
