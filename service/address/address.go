// SPDX-License-Identifier: Apache-2.0

// Package address describes floating addresses: addresses of the provider network, at which others outside of a tenant's networks reach one of its
// services or pods.
package address

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/service"
)

// MaxPorts is how many ports of a pod an address can publish.
const MaxPorts = 32

// Address is a floating address.
type Address struct {
	ID               uuid.UUID         `json:"id"`
	TenantID         uuid.UUID         `json:"-"`
	Name             string            `json:"name"`
	Labels           map[string]string `json:"labels"`
	Target           *Target           `json:"target,omitempty"` // nil: reserved, and nothing is reached
	DeleteWithTarget bool              `json:"deleteWithTarget"`
	Status           Status            `json:"status"`
	CreatedAt        time.Time         `json:"createdAt"`
}

// Target is what is reached: a service with its ports, or a pod.
type Target struct {
	ServiceID *uuid.UUID `json:"serviceId,omitempty"`
	PodID     *uuid.UUID `json:"podId,omitempty"`
	Ports     []Port     `json:"ports,omitempty"` // of a pod; none: all, and the pod's own connections also have this address
}

// Port is a published port of a pod.
type Port struct {
	Protocol   service.Protocol `json:"protocol"`
	Port       int              `json:"port"`       // of the address
	TargetPort int              `json:"targetPort"` // of the pod
}

// Status is what Husk says about an address.
type Status struct {
	Address    string `json:"address"`
	TargetName string `json:"targetName,omitempty"`
}

// Complete returns the address with the defaults of what was left out. A target without anything is none.
func (a Address) Complete() Address {
	if a.Target == nil || a.Target.ServiceID == nil && a.Target.PodID == nil && len(a.Target.Ports) == 0 {
		a.Target = nil
		return a
	}
	t := *a.Target
	t.Ports = slices.Clone(t.Ports)
	for i := range t.Ports {
		if t.Ports[i].Protocol == "" {
			t.Ports[i].Protocol = service.TCP
		}
		if t.Ports[i].TargetPort == 0 {
			t.Ports[i].TargetPort = t.Ports[i].Port
		}
	}
	a.Target = &t
	return a
}

// Check refuses an address that could not work. It is complete. Codes: invalid.
func (a Address) Check() error {
	t := a.Target
	switch {
	case t == nil && a.DeleteWithTarget:
		return husk.Errorf(husk.CodeInvalid, "deleteWithTarget", "the address has no target with which it could be deleted; add a target, or leave the field out")
	case t == nil:
		return nil
	case (t.ServiceID == nil) == (t.PodID == nil):
		return husk.Errorf(husk.CodeInvalid, "target", "an address leads to one service or to one pod; give either serviceId or podId")
	case t.ServiceID != nil && len(t.Ports) > 0:
		return husk.Errorf(husk.CodeInvalid, "target.ports", "the ports of a service are reached as they are; leave the ports out, or change those of the service")
	}
	numbers := map[Port]bool{}
	for i, p := range t.Ports {
		number := Port{Protocol: p.Protocol, Port: p.Port}
		if numbers[number] {
			return husk.Errorf(husk.CodeInvalid, "target.ports["+strconv.Itoa(i)+"].port", "another port is %s %d", p.Protocol, p.Port)
		}
		numbers[number] = true
	}
	return nil
}

// Range is the range from which floating addresses come. The zero value is empty.
type Range struct{ First, Last netip.Addr }

// Valid reports whether there are addresses in the range.
func (r Range) Valid() bool { return r.First.IsValid() }

// Size returns how many addresses there are in the range.
func (r Range) Size() int64 {
	if !r.Valid() {
		return 0
	}
	return int64(number(r.Last)) - int64(number(r.First)) + 1
}

// Prefixes returns the blocks of which the range consists.
func (r Range) Prefixes() []netip.Prefix {
	var all []netip.Prefix
	if !r.Valid() {
		return nil
	}
	for at, last := uint64(number(r.First)), uint64(number(r.Last)); at <= last; {
		size, bits := uint64(1), 32
		for bits > 0 && at%(size*2) == 0 && at+size*2-1 <= last {
			size, bits = size*2, bits-1
		}
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)}), bits)) //nolint:gosec // the bytes of an IPv4 address
		at += size
	}
	return all
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
