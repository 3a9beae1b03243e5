package husk

import (
	"time"

	"github.com/google/uuid"
)

// MachineRun is one life of a pod's virtual machine on a node, as its agent tells it. It is named by the pod and the start.
type MachineRun struct {
	PodID         uuid.UUID  `json:"podId"`
	StartedAt     time.Time  `json:"startedAt"` // by the node's clock, to the microsecond
	StoppedAt     *time.Time `json:"stoppedAt,omitempty"`
	ReceivedBytes int64      `json:"receivedBytes"` // by the pod through its network interface, so far
	SentBytes     int64      `json:"sentBytes"`
}

// UsageQuery says what of the ledger is asked for.
type UsageQuery struct {
	From, To time.Time // whole hours; To is excluded
	Period   UsagePeriod
	GroupBy  UsageGroup
	Label    string // of UsageByLabel
}

// UsagePeriod is into how long pieces usage is cut.
type UsagePeriod string

// The periods.
const (
	UsageHourly UsagePeriod = "hour"
	UsageDaily  UsagePeriod = "day" // of UTC
	UsageTotal  UsagePeriod = "total"
)

// UsageGroup is by what usage is told apart.
type UsageGroup string

// The groups.
const (
	UsageByNothing  UsageGroup = "none"
	UsageByObject   UsageGroup = "object" // each pod and volume
	UsageByResource UsageGroup = "resource"
	UsageByLabel    UsageGroup = "label"
	UsageByTenant   UsageGroup = "tenant" // for operators
)

// Usage is what was reserved and sent in one period by one group. What is reserved counts, whether it is used or not.
type Usage struct {
	From                 time.Time `json:"from"`
	To                   time.Time `json:"to"`             // excluded
	Closed               bool      `json:"closed"`         // never changes again
	Key                  string    `json:"key,omitempty"`  // what it is grouped by: an id, a kind or a label's value
	Name                 string    `json:"name,omitempty"` // of the object
	Kind                 string    `json:"kind,omitempty"` // pod or volume
	PodSeconds           float64   `json:"podSeconds"`     // of virtual machines that were up
	CPUCoreSeconds       float64   `json:"cpuCoreSeconds"` // reserved cores times seconds
	MemoryGiBSeconds     float64   `json:"memoryGiBSeconds"`
	VolumeGiBSeconds     float64   `json:"volumeGiBSeconds"`
	NetworkReceivedBytes int64     `json:"networkReceivedBytes"`
	NetworkSentBytes     int64     `json:"networkSentBytes"`
	Cost                 *float64  `json:"cost,omitempty"` // in the currency of the price list
}

// PriceList says what usage costs. The zero value prices nothing.
type PriceList struct {
	Currency      string  `json:"currency" yaml:"currency"` // ISO 4217
	CPUCoreHour   float64 `json:"cpuCoreHour" yaml:"cpuCoreHour"`
	MemoryGiBHour float64 `json:"memoryGiBHour" yaml:"memoryGiBHour"`
	VolumeGiBHour float64 `json:"volumeGiBHour" yaml:"volumeGiBHour"`
	NetworkGiB    float64 `json:"networkGiB" yaml:"networkGiB"` // sent
}

// Cost is what usage costs by the list.
func (p PriceList) Cost(u Usage) float64 {
	const hour, gib = 3600, 1 << 30
	return p.CPUCoreHour*u.CPUCoreSeconds/hour + p.MemoryGiBHour*u.MemoryGiBSeconds/hour + p.VolumeGiBHour*u.VolumeGiBSeconds/hour +
		p.NetworkGiB*float64(u.NetworkSentBytes)/gib
}
