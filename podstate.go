// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Reasons of a container's and of a pod's status.
const (
	ReasonOOMKilled        = "OOMKilled"
	ReasonBackOff          = "BackOff"
	ReasonStartError       = "StartError"
	ReasonCrashLoopBackOff = "CrashLoopBackOff" // a container waits for its restart
	ReasonNotReady         = "NotReady"         // a probe of a container has not succeeded
	ReasonContainerFailed  = "ContainerFailed"  // a container has failed and is not restarted, but others run
	ReasonUnhealthy        = "Unhealthy"        // a probe of a container failed, so it was ended
	ReasonNodeLost         = "NodeLost"         // the node does not respond, or is lost for good
	ReasonPostStartFailed  = "PostStartFailed"  // the hook after a container's start failed, so it was ended
)

// RunningReason returns what is wrong with a pod of which containers run, as a word and a sentence, and nothing if all is well.
func RunningReason(containers []ContainerStatus) (reason, message string) {
	for _, c := range containers {
		if c.State == ContainerWaiting && c.NextStartAt != nil {
			return ReasonCrashLoopBackOff, c.ended() + ", and starts again at " + c.NextStartAt.UTC().Format(time.TimeOnly) + " UTC"
		}
	}
	for _, c := range containers {
		if c.State == ContainerExited && c.ExitCode != nil && *c.ExitCode != 0 {
			return ReasonContainerFailed, c.ended() + ", and is not restarted"
		}
	}
	for _, c := range containers {
		if c.State == ContainerRunning && !c.IsReady() {
			text := "container " + c.Name + " is not ready"
			if c.Message != "" {
				text += ": " + c.Message
			}
			return ReasonNotReady, text
		}
	}
	return "", ""
}

// ended says how the latest run of a container ended.
func (s ContainerStatus) ended() string {
	text := "container " + s.Name
	switch {
	case s.Reason == ReasonStartError || s.LastReason == ReasonStartError:
		text += " could not be started"
		if s.Message != "" {
			text += " (" + s.Message + ")"
		}
	case s.Reason == ReasonOOMKilled || s.LastReason == ReasonOOMKilled:
		text += " was killed because the pod had no memory left"
	case slices.Contains([]string{ReasonUnhealthy, ReasonPostStartFailed}, cmp.Or(s.LastReason, s.Reason)):
		text += " was ended: " + s.Message
	case s.ExitCode != nil:
		text += fmt.Sprintf(" ended with exit code %d", *s.ExitCode)
	default:
		text += " ended"
	}
	if s.Restarts == 1 {
		text += " after 1 restart"
	} else if s.Restarts > 0 {
		text += fmt.Sprintf(" after %d restarts", s.Restarts)
	}
	return text
}

// ContainerEvent is something that happened to a container.
type ContainerEvent struct{ Reason, Message string }

// After this many restarts of a container, only every hundredth run has events.
const maxContainerRuns = 100

// ContainerEvents returns what has happened to a pod's containers between two reports about it.
func ContainerEvents(before, after []ContainerStatus) []ContainerEvent {
	was := map[string]ContainerStatus{}
	for _, c := range before {
		was[c.Name] = c
	}
	var events []ContainerEvent
	for _, c := range after {
		old := was[c.Name]
		if c.Restarts > maxContainerRuns && c.Restarts%maxContainerRuns != 0 {
			continue
		}
		over := c.State == ContainerExited || c.State == ContainerWaiting && c.NextStartAt != nil
		began := c.StartedAt != nil && (old.StartedAt == nil || c.Restarts > old.Restarts)
		if began {
			events = append(events, ContainerEvent{"ContainerStarted", startedText(c)})
		}
		if !over || old.State != ContainerRunning && !began && old.State == c.State {
			continue
		}
		e := ContainerEvent{"ContainerExited", c.ended()}
		switch {
		case c.Reason == ReasonStartError || c.LastReason == ReasonStartError:
			e.Reason = "ContainerStartFailed"
		case c.Reason == ReasonOOMKilled || c.LastReason == ReasonOOMKilled:
			e.Reason = "ContainerOOMKilled"
		}
		if old.State == ContainerRunning || began || old.State == "" || e.Reason == "ContainerStartFailed" {
			events = append(events, e)
		}
		if c.NextStartAt != nil && c.FinishedAt != nil {
			wait := c.NextStartAt.Sub(*c.FinishedAt).Round(time.Second)
			events = append(events, ContainerEvent{"ContainerBackOff", fmt.Sprintf("container %s starts again in %s", c.Name, wait)})
		}
	}
	return events
}

func startedText(c ContainerStatus) string {
	if c.Restarts == 0 {
		return "container " + c.Name + " was started"
	}
	return fmt.Sprintf("container %s was started again, restart %d", c.Name, c.Restarts)
}
