// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"slices"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// goals are the values of --for by kind, each with the states that fulfil it. The first is the default.
var goals = map[string][]struct {
	name   string
	states []string
}{
	"pod": {
		{"running", []string{string(openapi.PodPhaseRunning)}},
		{"succeeded", []string{string(openapi.PodPhaseSucceeded)}},
		{"stopped", []string{string(openapi.PodPhaseStopped)}},
		{"ended", []string{string(openapi.PodPhaseSucceeded), string(openapi.PodPhaseFailed)}},
		{"deleted", nil},
	},
	"volume":   {{"available", []string{string(openapi.VolumeStateAvailable), string(openapi.VolumeStateInUse)}}, {"deleted", nil}},
	"snapshot": {{"ready", []string{string(openapi.SnapshotStateReady)}}, {"deleted", nil}},
	"image":    {{"ready", []string{string(openapi.ImageStateReady)}}, {"deleted", nil}},
}

// finalStates are the states that only a deletion can change.
var finalStates = map[string][]string{
	"pod":      {string(openapi.PodPhaseSucceeded), string(openapi.PodPhaseFailed), string(openapi.PodPhaseStopping)},
	"volume":   {string(openapi.VolumeStateDeleting)},
	"snapshot": {string(openapi.SnapshotStateFailed), string(openapi.SnapshotStateDeleting)},
	"image":    {string(openapi.ImageStateFailed), string(openapi.ImageStateDeleting)},
}

// GoalStates finds the states that fulfil a goal. For deleted, it returns nil.
func GoalStates(kind, goal string) ([]string, error) {
	known := goals[kind]
	if len(known) == 0 {
		return nil, exit.Usagef("a %s has no states to wait for", kind)
	}
	var words []string
	for i, g := range known {
		if g.name == strings.ToLower(goal) || goal == "" && i == 0 {
			return g.states, nil
		}
		words = append(words, g.name)
	}
	return nil, exit.Usagef("--for: %q is not a state of a %s; use %s", goal, kind, strings.Join(words, ", "))
}

// Final reports whether only a deletion can change a state.
func Final(kind, state string) bool { return slices.Contains(finalStates[kind], state) }
