package store

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Connections is how one role's connections to Postgres are used.
type Connections struct {
	Role             string
	InUse, Idle, Max int32
	Waits            int64         // transactions that found none free
	Waited           time.Duration // all of them together
}

// Connections tells how this store's connections are used now. It asks Postgres nothing.
func (s *Store) Connections() []Connections {
	of := func(role string, pool *pgxpool.Pool) Connections {
		stat := pool.Stat()
		return Connections{
			Role: role, InUse: stat.AcquiredConns(), Idle: stat.IdleConns(), Max: stat.MaxConns(), Waits: stat.EmptyAcquireCount(), Waited: stat.EmptyAcquireWaitTime(),
		}
	}
	return []Connections{of(RoleTenant, s.tenant), of(RoleControl, s.control)}
}
