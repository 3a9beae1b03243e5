// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"time"

	"github.com/google/uuid"
)

// MachineRun is one run of a pod's virtual machine on a node, from its start to its stop, as the agent reports it. Pod and start
// identify it.
type MachineRun struct {
	PodID     uuid.UUID  `json:"podId"`
	StartedAt time.Time  `json:"startedAt"` // by the node's clock, to the microsecond
	StoppedAt *time.Time `json:"stoppedAt,omitempty"`
	Resources *Resources `json:"resources,omitempty"` // its size in this run, if that was changed; a run then ends without its machine
	Traffic              // so far
}

// Traffic is what a pod has received and sent, in bytes of Ethernet frames at its interfaces. Outside is a part of that: from and to addresses that are
// not those of the tenant's pods and services.
type Traffic struct {
	ReceivedBytes        int64 `json:"receivedBytes"`
	SentBytes            int64 `json:"sentBytes"`
	OutsideReceivedBytes int64 `json:"outsideReceivedBytes"`
	OutsideSentBytes     int64 `json:"outsideSentBytes"`
}

// Plus returns the sum of both.
func (t Traffic) Plus(o Traffic) Traffic {
	return Traffic{t.ReceivedBytes + o.ReceivedBytes, t.SentBytes + o.SentBytes, t.OutsideReceivedBytes + o.OutsideReceivedBytes, t.OutsideSentBytes + o.OutsideSentBytes}
}

// Minus returns what came after o. What was outside may have begun again, and is then that since its beginning.
func (t Traffic) Minus(o Traffic) Traffic {
	t.ReceivedBytes, t.SentBytes = t.ReceivedBytes-o.ReceivedBytes, t.SentBytes-o.SentBytes
	if t.OutsideReceivedBytes >= o.OutsideReceivedBytes {
		t.OutsideReceivedBytes -= o.OutsideReceivedBytes
	}
	if t.OutsideSentBytes >= o.OutsideSentBytes {
		t.OutsideSentBytes -= o.OutsideSentBytes
	}
	return t
}

// UsageQuery selects a part of the usage ledger.
type UsageQuery struct {
	From, To time.Time // whole hours; To is excluded
	Period   UsagePeriod
	GroupBy  UsageGroup
	Label    string // for UsageByLabel
}

// UsagePeriod is the length of each reporting interval.
type UsagePeriod string

// The periods.
const (
	UsageHourly UsagePeriod = "hour"
	UsageDaily  UsagePeriod = "day" // of UTC
	UsageTotal  UsagePeriod = "total"
)

// UsageGroup is what usage is grouped by.
type UsageGroup string

// The groups.
const (
	UsageByNothing  UsageGroup = "none"
	UsageByObject   UsageGroup = "object" // each pod and volume
	UsageByResource UsageGroup = "resource"
	UsageByClass    UsageGroup = "volumeClass"
	UsageByLabel    UsageGroup = "label"
	UsageByTenant   UsageGroup = "tenant" // for operators
)

// Usage is what one group reserved, received and sent in one reporting interval. Reservations count whether they are used or not.
type Usage struct {
	From                 time.Time `json:"from"`
	To                   time.Time `json:"to"`             // excluded
	Closed               bool      `json:"closed"`         // never changes again
	Key                  string    `json:"key,omitempty"`  // the group: an id, a kind or the value of a label
	Name                 string    `json:"name,omitempty"` // of the object
	Kind                 string    `json:"kind,omitempty"` // pod or volume
	PodSeconds           float64   `json:"podSeconds"`     // time for which virtual machines were up
	CPUCoreSeconds       float64   `json:"cpuCoreSeconds"` // reserved cores times seconds
	MemoryGiBSeconds     float64   `json:"memoryGiBSeconds"`
	VolumeGiBSeconds     float64   `json:"volumeGiBSeconds"`
	ScratchGiBSeconds    float64   `json:"scratchGiBSeconds"` // of the scratch disks of pods
	NetworkReceivedBytes int64     `json:"networkReceivedBytes"`
	NetworkSentBytes     int64     `json:"networkSentBytes"`
	// Of these, from and to addresses outside of the tenant's networks.
	NetworkOutsideReceivedBytes int64    `json:"networkOutsideReceivedBytes"`
	NetworkOutsideSentBytes     int64    `json:"networkOutsideSentBytes"`
	Cost                        *float64 `json:"cost,omitempty"` // in the currency of the price list
}

// PriceList is what usage costs. With the zero value, nothing has a price.
type PriceList struct {
	Currency       string  `json:"currency" yaml:"currency"` // ISO 4217
	CPUCoreHour    float64 `json:"cpuCoreHour" yaml:"cpuCoreHour"`
	MemoryGiBHour  float64 `json:"memoryGiBHour" yaml:"memoryGiBHour"`
	VolumeGiBHour  float64 `json:"volumeGiBHour" yaml:"volumeGiBHour"`
	ScratchGiBHour float64 `json:"scratchGiBHour" yaml:"scratchGiBHour"`
	NetworkGiB     float64 `json:"networkGiB" yaml:"networkGiB"` // sent
	OutsideGiB     float64 `json:"outsideGiB" yaml:"outsideGiB"` // sent outside, in addition
}

// Cost returns the cost of usage according to the list.
func (p PriceList) Cost(u Usage) float64 {
	const hour, gib = 3600, 1 << 30
	return p.CPUCoreHour*u.CPUCoreSeconds/hour + p.MemoryGiBHour*u.MemoryGiBSeconds/hour + p.VolumeGiBHour*u.VolumeGiBSeconds/hour +
		p.ScratchGiBHour*u.ScratchGiBSeconds/hour +
		p.NetworkGiB*float64(u.NetworkSentBytes)/gib + p.OutsideGiB*float64(u.NetworkOutsideSentBytes)/gib
}
