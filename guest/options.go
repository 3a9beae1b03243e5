// SPDX-License-Identifier: Apache-2.0

package guest

// Options are the parts of a container that only the pod's author sets. They have the same JSON form
// in the contract.
type Options struct {
	NonRoot          bool     `json:"nonRoot,omitempty"`          // refuse to start as user 0
	Groups           []string `json:"groups,omitempty"`           // supplementary groups, as names or numbers
	CapabilitiesAdd  []string `json:"capabilitiesAdd,omitempty"`  // without CAP_; ALL is all
	CapabilitiesDrop []string `json:"capabilitiesDrop,omitempty"` // before those in CapabilitiesAdd are added
	ReadOnlyRoot     bool     `json:"readOnlyRoot,omitempty"`
	// NoNewPrivileges makes set-user-ID and set-group-ID bits and file capabilities ineffective.
	NoNewPrivileges bool `json:"noNewPrivileges,omitempty"`

	RestartPolicy  string `json:"restartPolicy,omitempty"` // "": the pod's
	MaxRestarts    int    `json:"maxRestarts,omitempty"`   // with RestartOnFailure, in one boot; 0: no maximum
	StartupProbe   *Probe `json:"startupProbe,omitempty"`
	ReadinessProbe *Probe `json:"readinessProbe,omitempty"`
	LivenessProbe  *Probe `json:"livenessProbe,omitempty"`
	PostStart      *Hook  `json:"postStart,omitempty"`
	PreStop        *Hook  `json:"preStop,omitempty"`

	// TerminationMessagePath is a file of the container, whose end is in its status after it has ended.
	TerminationMessagePath string `json:"terminationMessagePath,omitempty"`
	// TerminationMessageFromLog takes the end of the log if the container failed and the file is empty.
	TerminationMessageFromLog bool   `json:"terminationMessageFromLog,omitempty"`
	Limits                    Limits `json:"limits,omitzero"`

	Ulimits []Ulimit `json:"ulimits,omitempty"`

	// InitProcess makes husk-init the first process of the container. It starts the command, passes signals on to it and waits for orphans.
	InitProcess bool `json:"initProcess,omitempty"`

	VolumeDevices []VolumeDevice `json:"volumeDevices,omitempty"`
}

// VolumeDevice gives a container the disk of a volume without a file system, as a block device at this path.
type VolumeDevice struct {
	Volume     string `json:"volume"`
	DevicePath string `json:"devicePath"`
}

// Limits are what all processes of a container can use together. Zero: as much as the machine has.
type Limits struct {
	CPUMillis int `json:"cpuMillis,omitempty"` // 1000 is one core
	MemoryMiB int `json:"memoryMiB,omitempty"`
}

// Action is something that husk-init does to a container. Exactly one field is set.
type Action struct {
	Exec         []string  `json:"exec,omitempty"` // runs in the container and must exit with 0
	HTTPGet      *HTTPGet  `json:"httpGet,omitempty"`
	TCPPort      int       `json:"tcpPort,omitempty"` // must accept a connection
	GRPC         *GRPCPort `json:"grpc,omitempty"`
	SleepSeconds int       `json:"sleepSeconds,omitempty"`
}

// HTTPGet is a request to the pod's own address. A response with a status from 200 to 399 is a success.
type HTTPGet struct {
	Port    int          `json:"port"`
	Path    string       `json:"path,omitempty"`   // "": /
	Scheme  string       `json:"scheme,omitempty"` // http or https; the certificate is not checked
	Headers []HTTPHeader `json:"headers,omitempty"`
}

// HTTPHeader is a header of a request.
type HTTPHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// GRPCPort is a port that serves the standard health service of gRPC.
type GRPCPort struct {
	Port    int    `json:"port"`
	Service string `json:"service,omitempty"`
}

// Hook is an action when a container starts or stops.
type Hook struct{ Action }

// Probe is an action that is repeated while a container runs. Zero means the default.
type Probe struct {
	Action
	InitialDelaySeconds int `json:"initialDelaySeconds,omitempty"`
	PeriodSeconds       int `json:"periodSeconds,omitempty"`    // 10
	TimeoutSeconds      int `json:"timeoutSeconds,omitempty"`   // 1
	SuccessThreshold    int `json:"successThreshold,omitempty"` // 1
	FailureThreshold    int `json:"failureThreshold,omitempty"` // 3
	// GracePeriodSeconds is the time that the container has to end after this probe has failed. 0: the pod's.
	GracePeriodSeconds int `json:"terminationGracePeriodSeconds,omitempty"`
}

// Defaults of a probe.
const (
	DefaultProbePeriod      = 10
	DefaultProbeTimeout     = 1
	DefaultSuccessThreshold = 1
	DefaultFailureThreshold = 3
)

// Sidecar reports whether the container starts with the init containers and runs until the others have ended.
func (c *Container) Sidecar() bool { return c.Init && c.RestartPolicy == RestartAlways }
