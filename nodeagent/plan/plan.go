// SPDX-License-Identifier: Apache-2.0

// Package plan compares what a node should run with what it runs.
package plan

import (
	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/vm"
)

// Plan is the difference between the desired state and the actual state.
type Plan struct {
	Tell    []husk.DesiredPod // pods with a desired state for their worker, including new pods
	Dismiss []uuid.UUID       // pods that the server no longer lists: their worker ends
	Orphans []uuid.UUID       // machines and directories that belong to no pod of this node
}

// Diff computes the plan. desired must have come from the server since this agent started: an older
// one lacks pods that were created since, and Diff would take their machines for orphans.
func Diff(desired husk.DesiredState, workers map[uuid.UUID]bool, domains []vm.Domain, dirs []uuid.UUID) Plan {
	var p Plan
	named := make(map[uuid.UUID]bool, len(desired.Pods))
	for _, pod := range desired.Pods {
		named[pod.ID] = true
		p.Tell = append(p.Tell, pod)
	}
	for id := range workers {
		if !named[id] {
			p.Dismiss = append(p.Dismiss, id)
		}
	}
	orphan := map[uuid.UUID]bool{}
	for _, d := range domains {
		orphan[d.PodID] = true
	}
	for _, id := range dirs {
		orphan[id] = true
	}
	for id := range orphan {
		if !named[id] {
			p.Orphans = append(p.Orphans, id)
		}
	}
	return p
}
