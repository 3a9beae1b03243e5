// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"slices"

	"husk"
	"husk/guest"
)

// AllRunning reports whether all containers have been started.
func AllRunning(containers []guest.ContainerStatus) bool {
	for _, c := range containers {
		if c.State == guest.StateWaiting && c.StartedAt.IsZero() {
			return false
		}
	}
	return len(containers) > 0
}

// FailureOf returns why a pod has failed. How a sidecar ended is not the reason.
func FailureOf(s guest.Status, desired husk.DesiredPod) (reason, message string) {
	if s.Error != "" {
		return cmp.Or(s.Reason, "GuestError"), s.Error
	}
	for _, c := range s.Containers {
		sidecar := slices.ContainsFunc(desired.Containers, func(d husk.DesiredContainer) bool {
			return d.Name == c.Name && d.Init && d.RestartPolicy == husk.RestartAlways
		})
		if !sidecar && c.State == guest.StateExited && c.Reason != guest.ReasonCompleted {
			if c.Message != "" {
				return c.Reason, fmt.Sprintf("container %s: %s", c.Name, c.Message)
			}
			return c.Reason, fmt.Sprintf("container %s ended with exit code %d", c.Name, c.ExitCode)
		}
	}
	return guest.ReasonError, ""
}
