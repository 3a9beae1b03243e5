// SPDX-License-Identifier: Apache-2.0

package control

import (
	"math"
	"strings"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// scoreOf returns the stored score of a placement, rounded to a ten-thousandth of a node.
func scoreOf(s scheduler.Score) husk.PlacementScore {
	round := func(v float64) float64 { return math.Round(v*1e4) / 1e4 }
	return husk.PlacementScore{
		NodesCompared: s.Considered, OpenedNode: s.Opened, StrandedBefore: round(s.StrandedBefore), StrandedAfter: round(s.StrandedAfter),
		LeftFree: round(s.Left), Total: round(s.Total),
	}
}

// refusal returns the complete record of a refusal. The API removes what a tenant must not see (forTenant in package server).
func (p *scheduling) refusal(d store.PendingPod, r scheduler.Refusal, now time.Time) store.Refusal {
	refusal := &husk.PlacementRefusal{
		Nodes: r.Nodes, NotReady: r.NotReady, NotSelected: r.NotSelected, NotTolerated: r.Tainted, Crowded: r.Crowded,
		LackCPU: r.LackCPU, LackMemory: r.LackMem, NeverFits: r.NeverFits,
	}
	if r.Nearest >= 0 {
		lacks := husk.Resources(r.NearestLacks)
		refusal.NearestNode, refusal.NearestLacks = p.index.fleet.Node(r.Nearest), &lacks
	}
	for _, h := range r.MakeRoom.Pods {
		key, known := p.index.keys[h]
		if !known { // the pod is in this batch, and counts only if the batch is committed
			refusal.WouldMakeRoom = nil
			break
		}
		refusal.WouldMakeRoom = append(refusal.WouldMakeRoom, husk.PlacementPod{ID: key.ID, TenantID: key.TenantID, Resources: husk.Resources(p.index.fleet.Size(h))})
	}
	message := refusalMessage(r)
	return store.Refusal{
		Pod: store.PodKey{TenantID: d.TenantID, ID: d.ID}, Reason: string(r.Reason), Message: message, Waits: r.Reason == scheduler.Preempting,
		Decision: husk.Placement{Outcome: husk.PlacementRefused, DecidedAt: &now, Reason: string(r.Reason), Message: message, Refusal: refusal},
	}
}

// refusalMessage tells a tenant why its pod is not placed: which of its own requirements rule out nodes, and which resource is short on the rest.
// It reveals neither how many nodes there are nor how much capacity others leave.
func refusalMessage(r scheduler.Refusal) string {
	var filters []string
	for _, f := range []struct {
		nodes int
		what  string
	}{
		{r.NotSelected, "lack a required label"},
		{r.Tainted, "have a taint that is not tolerated"},
		{r.Crowded, "are excluded by the affinity rules of pods"},
	} {
		if f.nodes > 0 {
			filters = append(filters, f.what)
		}
	}
	var short string
	switch r.Reason {
	case scheduler.NoNode:
		return "no node is ready"
	case scheduler.GangIncomplete:
		return "this pod fits, but not all pods of its gang fit at the same time"
	case scheduler.Preempting:
		return "waiting until evicted pods of lower priority have stopped"
	case scheduler.NotSelected, scheduler.NotTolerated, scheduler.Crowded:
		return "no eligible node: the nodes " + strings.Join(filters, " or ")
	case scheduler.InsufficientCPU:
		short = "insufficient cpu on every eligible node"
	case scheduler.InsufficientMemory:
		short = "insufficient memory on every eligible node"
	case scheduler.InsufficientExtra:
		short = "insufficient disk space for the pod's ephemeral storage on every eligible node"
	default:
		short = "no eligible node has enough free cpu, memory and disk space at the same time"
	}
	if r.NeverFits {
		short += ", even if the nodes were empty"
	}
	if len(filters) > 0 {
		short += "; other nodes " + strings.Join(filters, " or ")
	}
	return short
}
