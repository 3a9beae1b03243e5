// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"fmt"
	"reflect"
	"slices"
)

// ContainerOptions are the parts of a container that only the pod's author sets. They reach the guest as they are.
type ContainerOptions struct {
	NonRoot          bool     `json:"nonRoot,omitempty"`          // refuse to start as root
	Groups           []string `json:"groups,omitempty"`           // supplementary groups
	CapabilitiesAdd  []string `json:"capabilitiesAdd,omitempty"`  // without CAP_; ALL is all
	CapabilitiesDrop []string `json:"capabilitiesDrop,omitempty"` // before those in CapabilitiesAdd are added
	ReadOnlyRoot     bool     `json:"readOnlyRoot,omitempty"`
	NoNewPrivileges  *bool    `json:"noNewPrivileges,omitempty"` // nil: if the image has no file that it would affect

	RestartPolicy  RestartPolicy `json:"restartPolicy,omitempty"` // empty: the pod's
	MaxRestarts    int           `json:"maxRestarts,omitempty"`   // with RestartOnFailure; 0: no maximum
	InitProcess    bool          `json:"initProcess,omitempty"`   // the command is not process 1, but its child
	StartupProbe   *Probe        `json:"startupProbe,omitempty"`
	ReadinessProbe *Probe        `json:"readinessProbe,omitempty"`
	LivenessProbe  *Probe        `json:"livenessProbe,omitempty"`
	PostStart      *Hook         `json:"postStart,omitempty"`
	PreStop        *Hook         `json:"preStop,omitempty"`

	TerminationMessagePath    string  `json:"terminationMessagePath,omitempty"`
	TerminationMessageFromLog bool    `json:"terminationMessageFromLog,omitempty"`
	Limits                    *Limits `json:"limits,omitempty"`

	Ulimits []Ulimit `json:"ulimits,omitempty"`

	VolumeDevices []VolumeDevice `json:"volumeDevices,omitempty"`
}

// VolumeDevice is a volume without a file system, which a container uses as a block device.
type VolumeDevice struct {
	Volume     string `json:"volume"`
	DevicePath string `json:"devicePath"`
}

// Ulimit limits a resource of each process of a container, or of its user. -1 is unlimited.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// DefaultTerminationMessagePath is the file whose end becomes the message of a container that has ended.
const DefaultTerminationMessagePath = "/dev/termination-log"

// Limits are what all processes of a container can use together. Zero: as much as the pod has.
type Limits struct {
	CPUMillis int `json:"cpuMillis,omitempty"`
	MemoryMiB int `json:"memoryMiB,omitempty"`
}

// Probe is a check that is repeated while a container runs. Zero means the default.
type Probe struct {
	Exec                []string  `json:"exec,omitempty"`
	HTTPGet             *HTTPGet  `json:"httpGet,omitempty"`
	TCPPort             int       `json:"tcpPort,omitempty"`
	GRPC                *GRPCPort `json:"grpc,omitempty"`
	InitialDelaySeconds int       `json:"initialDelaySeconds,omitempty"`
	PeriodSeconds       int       `json:"periodSeconds,omitempty"`
	TimeoutSeconds      int       `json:"timeoutSeconds,omitempty"`
	SuccessThreshold    int       `json:"successThreshold,omitempty"`
	FailureThreshold    int       `json:"failureThreshold,omitempty"`
	GracePeriodSeconds  int       `json:"terminationGracePeriodSeconds,omitempty"`
}

// Hook is something that is done when a container starts or stops.
type Hook struct {
	Exec         []string `json:"exec,omitempty"`
	HTTPGet      *HTTPGet `json:"httpGet,omitempty"`
	SleepSeconds int      `json:"sleepSeconds,omitempty"`
}

// HTTPGet is a request to the pod's own address.
type HTTPGet struct {
	Port    int          `json:"port"`
	Path    string       `json:"path,omitempty"`
	Scheme  string       `json:"scheme,omitempty"`
	Headers []HTTPHeader `json:"headers,omitempty"`
}

// HTTPHeader is a header of a request.
type HTTPHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// GRPCPort is a port with the health service of gRPC.
type GRPCPort struct {
	Port    int    `json:"port"`
	Service string `json:"service,omitempty"`
}

// Sidecar reports whether a container among the init containers runs until the others have ended.
func (c Container) Sidecar() bool { return c.RestartPolicy == RestartAlways }

// RestartPolicyIn returns the container's policy in a pod with this policy. An init container that has done its work is not restarted.
func (c Container) RestartPolicyIn(ofPod RestartPolicy, initial bool) RestartPolicy {
	switch {
	case c.RestartPolicy != "":
		return c.RestartPolicy
	case initial && ofPod == RestartAlways:
		return RestartOnFailure
	default:
		return ofPod
	}
}

// needsOptions reports whether an agent that does not know the options would run the container differently.
func (c Container) needsOptions() bool {
	return !reflect.DeepEqual(c.ContainerOptions, ContainerOptions{}) ||
		slices.ContainsFunc(c.Files, func(f File) bool { return f.UID != 0 || f.GID != 0 || f.Mode == "0000" || f.Mode == "000" })
}

// AllContainers returns the init containers and then the others.
func (s PodSpec) AllContainers() []Container {
	return append(append(make([]Container, 0, len(s.InitContainers)+len(s.Containers)), s.InitContainers...), s.Containers...)
}

// ContainerField returns the field of the i-th container of all.
func (s PodSpec) ContainerField(i int) string {
	if i < len(s.InitContainers) {
		return fmt.Sprintf("spec.initContainers[%d]", i)
	}
	return fmt.Sprintf("spec.containers[%d]", i-len(s.InitContainers))
}

// IsReady reports whether a container runs and is ready. An earlier version of husk-init does not say whether it is.
func (s ContainerStatus) IsReady() bool {
	return s.State == ContainerRunning && (s.Ready == nil || *s.Ready)
}

// readyIn reports whether all containers of a pod are ready, except the init containers that are not sidecars.
func (s PodSpec) readyIn(statuses []ContainerStatus) bool {
	ready := map[string]bool{}
	for _, status := range statuses {
		ready[status.Name] = status.IsReady()
	}
	for i, c := range s.AllContainers() {
		if (i >= len(s.InitContainers) || c.Sidecar()) && !ready[c.Name] {
			return false
		}
	}
	return true
}

// WithReadiness returns the pod with the readiness that follows from its containers.
func (p Pod) WithReadiness() Pod {
	p.Status.Ready = p.Status.Phase == PhaseRunning && p.Status.UnknownSince == nil && p.Spec.readyIn(p.Status.Containers)
	return p
}
