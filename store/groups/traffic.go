// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/service/securitygroup"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
)

// Control is the access of the platform to security groups.
type Control struct {
	Do func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
}

// The numbers under which a group's drops are counted. Those of rules are positive.
var dropNumbers = map[securitygroup.Direction]int64{securitygroup.Ingress: 0, securitygroup.Egress: -1}

// keptDrops is how many dropped packets are kept of a group.
const keptDrops = 100

// Record stores what a node reports. It ignores groups and rules that do not exist any more, and those of tenants without pods on the node.
func (c Control) Record(ctx context.Context, node uuid.UUID, counts []husk.SecurityCount, drops []husk.SecurityDrop) error {
	rules, dropped := db.RecordRuleCountsParams{NodeID: node}, db.RecordDropCountsParams{NodeID: node}
	seen := map[string]bool{}
	counts = slices.Clone(counts)
	slices.SortFunc(counts, func(a, b husk.SecurityCount) int { // the same order for all nodes, so that they do not wait for each other in a circle
		if a.Key() < b.Key() {
			return -1
		}
		return 1
	})
	for _, n := range counts {
		number, isDrop := dropNumbers[securitygroup.Direction(n.Direction)]
		switch {
		case seen[n.Key()]:
			continue
		case n.GroupID != uuid.Nil && isDrop:
			dropped.Groups, dropped.Numbers = append(dropped.Groups, n.GroupID), append(dropped.Numbers, number)
			dropped.Packets, dropped.Bytes = append(dropped.Packets, n.Packets), append(dropped.Bytes, n.Bytes)
		case n.Rule > 0:
			rules.Numbers = append(rules.Numbers, n.Rule)
			rules.Packets, rules.Bytes = append(rules.Packets, n.Packets), append(rules.Bytes, n.Bytes)
		}
		seen[n.Key()] = true
	}
	p := db.RecordDropsParams{NodeID: node}
	for _, d := range drops {
		if !d.Source.IsValid() || !d.Destination.IsValid() {
			continue
		}
		p.Groups, p.Ats, p.Directions, p.Pods = append(p.Groups, d.GroupID), append(p.Ats, d.At), append(p.Directions, d.Direction), append(p.Pods, d.PodID)
		p.Protocols, p.Sources, p.SourcePorts = append(p.Protocols, d.Protocol), append(p.Sources, d.Source), append(p.SourcePorts, d.SourcePort)
		p.Destinations, p.DestinationPorts = append(p.Destinations, d.Destination), append(p.DestinationPorts, d.DestinationPort)
	}
	if len(rules.Numbers)+len(dropped.Groups)+len(p.Groups) == 0 {
		return nil
	}
	return c.Do(ctx, func(q *db.Queries) error {
		if err := q.RecordRuleCounts(ctx, rules); err != nil {
			return err
		}
		if err := q.RecordDropCounts(ctx, dropped); err != nil || len(p.Groups) == 0 {
			return err
		}
		if err := q.RecordDrops(ctx, p); err != nil {
			return err
		}
		return q.TrimDrops(ctx, db.TrimDropsParams{Groups: p.Groups, Keep: keptDrops})
	})
}

// Traffic returns what a group has allowed and dropped. Codes: not_found.
func (t Tenant) Traffic(ctx context.Context, id uuid.UUID) (traffic securitygroup.Traffic, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		row, err := q.GroupByID(ctx, db.GroupByIDParams{TenantID: t.ID, ID: id})
		if err != nil {
			return pgerr.NotFound(err, "security group")
		}
		counters, err := q.GroupCounters(ctx, db.GroupCountersParams{Tenants: []uuid.UUID{t.ID}, GroupID: &id})
		if err != nil {
			return err
		}
		traffic = trafficOf(convertGroup(row), counters)
		drops, err := q.GroupDrops(ctx, db.GroupDropsParams{TenantID: t.ID, GroupID: id})
		traffic.Drops = append(traffic.Drops, convert.All(drops, func(d db.SecurityDrop) husk.SecurityDrop {
			return husk.SecurityDrop{
				At: d.At, GroupID: d.GroupID, Direction: d.Direction, PodID: d.PodID, Protocol: d.Protocol, Source: d.Source, SourcePort: d.SourcePort,
				Destination: d.Destination, DestinationPort: d.DestinationPort,
			}
		})...)
		return err
	})
	return traffic, err
}

// trafficOf sorts the counters of a group.
func trafficOf(g securitygroup.Group, counters []db.GroupCountersRow) securitygroup.Traffic {
	t := securitygroup.Traffic{Rules: []securitygroup.RuleTraffic{}, Dropped: []securitygroup.DroppedTraffic{}, Drops: []husk.SecurityDrop{}}
	find := func(number int64) (packets, bytes int64) {
		for _, c := range counters {
			if c.GroupID == g.ID && c.Number == number {
				return c.Packets, c.Bytes
			}
		}
		return 0, 0
	}
	for _, r := range g.Rules {
		packets, bytes := find(r.Number)
		t.Rules = append(t.Rules, securitygroup.RuleTraffic{Number: r.Number, Packets: packets, Bytes: bytes})
	}
	for _, d := range g.Restricts {
		packets, bytes := find(dropNumbers[d])
		t.Dropped = append(t.Dropped, securitygroup.DroppedTraffic{Direction: d, Packets: packets, Bytes: bytes})
	}
	return t
}

// Count returns what the groups of tenants have allowed and dropped.
func Count(ctx context.Context, q *db.Queries, tenants []uuid.UUID) (map[uuid.UUID][]husk.SecurityMetrics, error) {
	rows, err := q.GroupsOfTenants(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	counters, err := q.GroupCounters(ctx, db.GroupCountersParams{Tenants: tenants})
	of := map[uuid.UUID][]db.GroupCountersRow{}
	for _, c := range counters {
		of[c.GroupID] = append(of[c.GroupID], c)
	}
	all := map[uuid.UUID][]husk.SecurityMetrics{}
	for _, r := range rows {
		t := trafficOf(convertGroup(r), of[r.ID])
		m := husk.SecurityMetrics{Name: r.Name}
		for _, n := range t.Rules {
			m.Rules = append(m.Rules, husk.SecurityCount{Rule: n.Number, Packets: n.Packets, Bytes: n.Bytes})
		}
		for _, n := range t.Dropped {
			m.Dropped = append(m.Dropped, husk.SecurityCount{Direction: string(n.Direction), Packets: n.Packets, Bytes: n.Bytes})
		}
		all[r.TenantID] = append(all[r.TenantID], m)
	}
	return all, err
}
