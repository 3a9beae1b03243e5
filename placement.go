// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"strconv"

	"github.com/google/uuid"
)

// KeyHolder returns the name by which Ceph knows the key of a placement: the pod's id and the placement's number. Number 0, from before
// placements had numbers, adds nothing.
func KeyHolder(pod uuid.UUID, placement int64) string {
	if placement == 0 {
		return pod.String()
	}
	return pod.String() + "." + strconv.FormatInt(placement, 10)
}
