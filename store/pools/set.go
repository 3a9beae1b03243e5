// SPDX-License-Identifier: Apache-2.0

package pools

import "context"

// Set is the pools of a server.
type Set struct {
	Tenants      *Pool // requests of tenants
	Reports      *Pool // requests of tenants that read a lot
	Lookups      *Pool // what requests of tenants need from the platform, such as their rate limits
	Logins       *Pool // logins, which anyone can send
	Control      *Pool // agents, loops and operators
	AdminReports *Pool // requests of operators that read a lot
	Hints        *Pool // the outbox
}

// Sizes of the smaller pools as parts of the size of the largest, and the part that one tenant can hold.
const (
	defaultSize  = 16
	tenantShare  = 8
	loginsShare  = 2
	lookupsShare = 2
	reportsShare = 4
)

// OpenSet prepares the pools. size is that of the largest; 0 means 16. hinted is called after a commit of hints.
func OpenSet(ctx context.Context, databaseURL, tenant, control string, size int, hinted func()) (Set, error) {
	if size == 0 {
		size = defaultSize
	}
	part := func(share int) int { return max(1, size/share) }
	heavy := map[string]string{"max_parallel_workers_per_gather": "0"} // one core per request
	var s Set
	for _, p := range []struct {
		pool **Pool
		of   Purpose
	}{
		{&s.Tenants, Purpose{Name: "tenants", Role: tenant, Max: size, PerTenant: part(tenantShare)}},
		{&s.Reports, Purpose{Name: "reports", Role: tenant, Max: part(reportsShare), PerTenant: 1, Rest: 1, Settings: heavy}},
		{&s.Lookups, Purpose{Name: "lookups", Role: control, Max: part(lookupsShare)}},
		{&s.Logins, Purpose{Name: "logins", Role: control, Max: part(loginsShare)}},
		{&s.Control, Purpose{Name: "control", Role: control, Max: size}},
		{&s.AdminReports, Purpose{Name: "admin-reports", Role: control, Max: part(reportsShare), Settings: heavy}},
		{&s.Hints, Purpose{Name: "hints", Role: control, Max: 1}},
	} {
		var err error
		if *p.pool, err = Open(ctx, databaseURL, p.of); err != nil {
			s.Close()
			return Set{}, err
		}
		(*p.pool).Hinted = hinted
	}
	return s, nil
}

// All returns the pools that are open.
func (s Set) All() []*Pool {
	var all []*Pool
	for _, p := range []*Pool{s.Tenants, s.Reports, s.Lookups, s.Logins, s.Control, s.AdminReports, s.Hints} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Close ends every connection and waits for them.
func (s Set) Close() {
	for _, p := range s.All() {
		p.Close()
	}
}
