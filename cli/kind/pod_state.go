// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"errors"
	"fmt"
	"slices"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Unknown is the state of a pod whose node does not respond.
const Unknown = "Unknown"

// State returns the pod's phase, or the reason why the pod is not well or not further. If the pod's node does not respond, it is Unknown.
func State(p openapi.Pod) string {
	if p.Status.UnknownSince != nil {
		return Unknown
	}
	reason := openapi.Value(p.Status.Reason)
	switch p.Status.Phase { //nolint:exhaustive // the others have no reason that says more
	case openapi.PodPhasePending, openapi.PodPhaseStarting, openapi.PodPhaseRunning, openapi.PodPhaseFailed:
		if reason != "" && reason != "Error" {
			return reason
		}
	}
	return string(p.Status.Phase)
}

// PodState returns the phase, with the address of a running pod or the exit code of its container.
func PodState(p openapi.Pod) string {
	text := string(p.Status.Phase)
	switch {
	case p.Status.Phase == openapi.PodPhaseRunning && p.Status.Address != nil:
		text += ", address " + *p.Status.Address
	case len(p.Status.Containers) == 1 && p.Status.Containers[0].ExitCode != nil:
		text += fmt.Sprintf(", exit code %d", *p.Status.Containers[0].ExitCode)
	}
	return text
}

// PodFailed returns the error for a pod that failed or was deleted.
func PodFailed(pod openapi.Pod) error {
	return fmt.Errorf("%s is %s", Pods.Ref(pod), print.State(PodState(pod), openapi.Value(pod.Status.Message)))
}

// ContainerCode returns the exit code of the first container that failed and is not a sidecar, 0 if containers ended but none failed, or nil if no container has an
// exit code.
func ContainerCode(pod openapi.Pod) *int {
	var code *int
	sidecars := map[string]bool{}
	for _, c := range openapi.Value(pod.Spec.InitContainers) {
		sidecars[c.Name] = openapi.Value(c.RestartPolicy) == openapi.Always
	}
	for _, s := range pod.Status.Containers {
		if !sidecars[s.Name] && s.ExitCode != nil && (code == nil || *code == 0) {
			code = s.ExitCode
		}
	}
	return code
}

// PodEnd returns nil for a pod that succeeded, a [client.ExitError] with the container's exit code if that is not 0, and [PodFailed] otherwise. If
// a container never started, the exit code is that of a shell, and [PodFailed] says why.
func PodEnd(pod openapi.Pod) error {
	code := ContainerCode(pod)
	switch {
	case pod.Status.Phase == openapi.PodPhaseSucceeded:
		return nil
	case code != nil && *code != 0 && neverStarted(pod):
		return errors.Join(&client.ExitError{Code: *code}, PodFailed(pod))
	case code != nil && *code != 0:
		return &client.ExitError{Code: *code}
	default:
		return PodFailed(pod)
	}
}

// HasEnded reports whether the pod's phase is Succeeded or Failed.
func HasEnded(p openapi.Pod) bool {
	return p.Status.Phase == openapi.PodPhaseSucceeded || p.Status.Phase == openapi.PodPhaseFailed
}

// neverStarted reports whether a container's command could not be executed.
func neverStarted(pod openapi.Pod) bool {
	return slices.ContainsFunc(pod.Status.Containers, func(s openapi.ContainerStatus) bool { return openapi.Value(s.Reason) == "StartError" })
}
