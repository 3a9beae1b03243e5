// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
)

// Ulimit limits a resource of each process of a container, or of its user.
type Ulimit struct {
	Name string `json:"name"` // as in Docker and in bash
	Soft int64  `json:"soft"` // Unlimited, or a number
	Hard int64  `json:"hard"`
}

// Unlimited is no limit.
const Unlimited = -1

// ulimits has the number of each resource. They are Linux's, because guests always run Linux.
var ulimits = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "locks": 10,
	"sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

// Resource returns the number of the limited resource.
func (u Ulimit) Resource() (int, error) {
	n, ok := ulimits[u.Name]
	if !ok {
		return 0, fmt.Errorf("ulimit %q: unknown", u.Name)
	}
	return n, nil
}

func checkUlimits(all []Ulimit) error {
	seen := map[string]bool{}
	for _, u := range all {
		if _, err := u.Resource(); err != nil {
			return err
		}
		if seen[u.Name] {
			return fmt.Errorf("ulimit %s: duplicate", u.Name)
		}
		seen[u.Name] = true
		if u.Soft < Unlimited || u.Hard < Unlimited || uint64(u.Soft) > uint64(u.Hard) { //nolint:gosec // unlimited is the largest number
			return errors.New("ulimit " + u.Name + ": the soft limit is above the hard limit, or one is negative")
		}
	}
	return nil
}
