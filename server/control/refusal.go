package control

import (
	"fmt"
	"math"
	"strings"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// scoreOf is the record of a placement, to a ten-thousandth of a node.
func scoreOf(s scheduler.Score) husk.PlacementScore {
	round := func(v float64) float64 { return math.Round(v*1e4) / 1e4 }
	return husk.PlacementScore{
		NodesCompared: s.Considered, OpenedNode: s.Opened, StrandedBefore: round(s.StrandedBefore), StrandedAfter: round(s.StrandedAfter),
		LeftFree: round(s.Left), Total: round(s.Total),
	}
}

// refusal is the record of a refusal, in full; forTenant says what of it a tenant may see.
func (p *scheduling) refusal(d store.PendingPod, r scheduler.Refusal, now time.Time) store.Refusal {
	refusal := &husk.PlacementRefusal{
		Nodes: r.Nodes, NotReady: r.NotReady, NotSelected: r.NotSelected, NotTolerated: r.Tainted, Crowded: r.Crowded,
		LackCPU: r.LackCPU, LackMemory: r.LackMem, NeverFits: r.NeverFits,
	}
	if r.Nearest >= 0 {
		lacks := husk.Resources(r.LargerBy)
		refusal.NearestNode, refusal.NearestLacks = p.index.fleet.Node(r.Nearest), &lacks
	}
	for _, h := range r.MakeRoom.Pods {
		key, known := p.index.keys[h]
		if !known { // it is of this batch, and in the way only if it is committed
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

// refusalMessage says to a tenant why its pod has no place: in numbers what its own wishes leave, and what is short there, but not how
// much others have left.
func refusalMessage(r scheduler.Refusal) string {
	var filters []string
	for _, f := range []struct {
		nodes int
		what  string
	}{
		{r.NotSelected, "lack a label asked for"},
		{r.Tainted, "have a taint that is not tolerated"},
		{r.Crowded, "are ruled out by where other pods run"},
	} {
		if f.nodes > 0 {
			filters = append(filters, fmt.Sprintf("%d %s", f.nodes, f.what))
		}
	}
	var short string
	switch r.Reason {
	case scheduler.NoNode:
		return "no node is ready"
	case scheduler.GangIncomplete:
		return "there is room for this pod, but not for all of its gang at once"
	case scheduler.Preempting:
		return "pods of lower priority are being stopped to make room"
	case scheduler.NotSelected, scheduler.NotTolerated, scheduler.Crowded:
		return fmt.Sprintf("no node may take the pod: of %d nodes, %s", r.Nodes-r.NotReady, strings.Join(filters, ", "))
	case scheduler.InsufficientCPU:
		short = "no node has enough cpu free"
	case scheduler.InsufficientMemory:
		short = "no node has enough memory free"
	default:
		short = "no node has enough cpu and memory free together"
	}
	if r.NeverFits {
		short += ", nor would when it is empty"
	}
	if len(filters) > 0 {
		short += fmt.Sprintf("; of %d nodes, %s", r.Nodes-r.NotReady, strings.Join(filters, ", "))
	}
	return short
}
