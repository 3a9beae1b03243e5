// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"net/netip"
	"time"
)

// Restart policies.
const (
	RestartAlways    = "Always"
	RestartOnFailure = "OnFailure"
	RestartNever     = "Never"
)

// Backoff between restarts of a container, unless the spec sets it.
const (
	DefaultBackoffBase  = time.Second
	DefaultBackoffMax   = 5 * time.Minute
	DefaultBackoffReset = 10 * time.Minute // after a stable run of this length
)

// ShareMiB is the memory that a machine needs for its own kernel and husk-init, so that its containers can use what the pod asks for. Measured
// with Debian's cloud kernel 6.1: 70 MiB with a pod of 96 MiB, 77 MiB with one of 512 (test/boot). The kernel's tables of memory grow with the
// machine, by 1 MiB for each 64 MiB. No kernel gets more.
const ShareMiB = 80

// FreezeLimit is how long the file system of a volume is frozen if nobody thaws it.
const FreezeLimit = 10 * time.Second

// Spec is everything that a guest must know to run its pod. Agents may send it again. During a boot
// only its Values change.
type Spec struct {
	PodID         string      `json:"podID"`
	Hostname      string      `json:"hostname"`
	Generation    int64       `json:"generation"`
	Network       *Network    `json:"network,omitempty"` // nil: loopback only
	Volumes       []Volume    `json:"volumes,omitempty"`
	Containers    []Container `json:"containers"`
	RestartPolicy string      `json:"restartPolicy"`
	FSGroup       *uint32     `json:"fsGroup,omitempty"` // the group to which the volumes belong
	HostAliases   []HostAlias `json:"hostAliases,omitempty"`
	Sysctls       []Sysctl    `json:"sysctls,omitempty"`
	ShmSizeMiB    int         `json:"shmSizeMiB,omitempty"` // of /dev/shm of all containers; 0: half of the memory
	// ScratchSerial is the virtio-blk serial of the disk for everything that containers write outside of volumes. Empty: it is in memory.
	ScratchSerial  string  `json:"scratchSerial,omitempty"`
	RestartBackoff Backoff `json:"restartBackoff,omitzero"`
	// GraceMillis is the time that a container has to end when husk-init itself ends it.
	GraceMillis int64 `json:"graceMillis,omitempty"`
	// DeadlineMillis is how long the pod may run before it fails. 0: forever.
	DeadlineMillis int64 `json:"deadlineMillis,omitempty"`
}

// HostAlias gives an address names in /etc/hosts.
type HostAlias struct {
	IP        netip.Addr `json:"ip"`
	Hostnames []string   `json:"hostnames"`
}

// Sysctl is a parameter of the kernel, such as net.core.somaxconn.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Backoff is the delay before a restart: Base, doubled up to Max. It starts at Base again after a
// run of at least ResetAfter. Zero means the default.
type Backoff struct {
	BaseMillis       int64 `json:"baseMillis,omitempty"`
	MaxMillis        int64 `json:"maxMillis,omitempty"`
	ResetAfterMillis int64 `json:"resetAfterMillis,omitempty"`
}

// Network is the configuration of the pod's network cards.
type Network struct {
	Card                     // the first one, through which the pod reaches everything that is in none of its networks
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
	Options     []string     `json:"options,omitempty"` // of the resolver, such as ndots:2
	More        []Card       `json:"more,omitempty"`
}

// Cards returns all cards, the first one first.
func (n *Network) Cards() []Card { return append([]Card{n.Card}, n.More...) }

// Card is the configuration of one network card.
type Card struct {
	MAC      string       `json:"mac"`
	Address  netip.Prefix `json:"address"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`     // none: only the pod's own subnet is reachable
	Address6 netip.Prefix `json:"ipv6Address,omitzero"` // none: no IPv6
	Gateway6 netip.Addr   `json:"ipv6Gateway,omitzero"`
	MTU      int          `json:"mtu,omitempty"` // 0: the card's own
}

// Volume is something that containers mount: a disk with a file system, files in memory, or a
// directory that is empty at first.
type Volume struct {
	Name     string `json:"name"`
	Serial   string `json:"serial,omitempty"` // virtio-blk serial; empty if it has no disk
	FSType   string `json:"fsType,omitempty"` // Ext4Type, XFSType, BlockType, FilesType or EmptyType
	ReadOnly bool   `json:"readOnly,omitempty"`
	Files    []File `json:"files,omitempty"`   // their paths are relative to the volume
	Memory   bool   `json:"memory,omitempty"`  // of EmptyType: its files are in memory, whatever else there is
	SizeMiB  int    `json:"sizeMiB,omitempty"` // of EmptyType; 0: half of the memory, or what all containers share
}

// Types of volumes with a disk.
const (
	Ext4Type  = "ext4"
	XFSType   = "xfs"
	BlockType = "none" // no file system: containers use the disk itself (VolumeDevice)
)

// Types of volumes without a disk.
const (
	FilesType = "files" // has the files of the spec
	EmptyType = "empty" // is empty when the machine starts
)

// Values is what a host can change of a pod that runs.
type Values struct {
	// Files are all files of the volumes in memory, by volume. They are replaced at once.
	Files map[string][]File `json:"files,omitempty"`
	// Env is the environment of each container from its next start on.
	Env map[string][]string `json:"env,omitempty"`
}

// Values returns what a host can change of a spec.
func (s *Spec) Values() Values {
	v := Values{Files: map[string][]File{}, Env: map[string][]string{}}
	for _, volume := range s.Volumes {
		if volume.FSType == FilesType {
			v.Files[volume.Name] = volume.Files
		}
	}
	for _, c := range s.Containers {
		v.Env[c.Name] = c.Env
	}
	return v
}

// Container is one container. Its arguments are already merged from image and pod.
type Container struct {
	Name        string   `json:"name"`
	ImageSerial string   `json:"imageSerial"` // virtio-blk serial of the squashfs disk; containers may share one
	Args        []string `json:"args"`        // Args[0] is looked up in the container's own PATH
	Env         []string `json:"env,omitempty"`
	WorkingDir  string   `json:"workingDir,omitempty"` // "": /
	// User is "", "uid", "uid:gid", "name" or "name:group", resolved in the guest with the image's
	// own /etc/passwd and /etc/group.
	User       string  `json:"user,omitempty"`
	StopSignal string  `json:"stopSignal,omitempty"` // "": SIGTERM
	Files      []File  `json:"files,omitempty"`
	Mounts     []Mount `json:"mounts,omitempty"`
	// Stdin keeps an input open to which attached clients write. Without Stdin, the input is empty.
	// With StdinOnce, the input ends when the first client that is attached to it ends its input or
	// detaches.
	Stdin     bool `json:"stdin,omitempty"`
	StdinOnce bool `json:"stdinOnce,omitempty"`
	// StartOnAttach delays the first start until a client attaches, or until none has for a while.
	StartOnAttach bool `json:"startOnAttach,omitempty"`
	// TTY makes input and both outputs one terminal.
	TTY bool `json:"tty,omitempty"`
	// Privileged gives root in the container the whole guest: all capabilities and devices, and no
	// system call filter. A guest that does not know the field confines the container.
	Privileged bool `json:"privileged,omitempty"`
	// Init containers come before the others in the list. Each runs to its end before the next one
	// starts, unless its restart policy is Always. Such a sidecar runs until the others have ended.
	Init bool `json:"init,omitempty"`
	Options
}

// File is written to a container's root file system before it starts.
type File struct {
	Path    string `json:"path"`
	Content []byte `json:"content,omitempty"`
	Mode    uint32 `json:"mode,omitempty"` // permission bits
	UID     uint32 `json:"uid,omitempty"`
	GID     uint32 `json:"gid,omitempty"`
}

// Mount mounts a volume, or a part of it, in a container.
type Mount struct {
	Volume   string `json:"volume"`
	Path     string `json:"path"`
	SubPath  string `json:"subPath,omitempty"` // resolved inside the volume, created if missing
	ReadOnly bool   `json:"readOnly,omitempty"`
}
