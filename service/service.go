// SPDX-License-Identifier: Apache-2.0

// Package service describes services: one name and one address for several pods, which a service selects by their labels. It decides which
// pods are the endpoints of a service, and which of them are ready. Package store reads services and pods, and everything else gets the result.
package service

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"husk"
)

// Protocol is the protocol of a port.
type Protocol string

// The protocols of ports.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
)

// Affinity says which connections go to the same pod.
type Affinity string

// The affinities.
const (
	AffinityNone   Affinity = "none"
	AffinityClient Affinity = "client" // all connections of a client
)

// DefaultAffinitySeconds is how long after its last connection a client keeps its pod, if the service does not say.
const DefaultAffinitySeconds = 10_800

const (
	// MaxShown is how many endpoints the API lists of a service.
	MaxShown = 100
	// MaxEndpoints is how many ready pods of a service get connections, and how many addresses its name can have.
	MaxEndpoints = 1000
)

// Service is one name and one address for several pods.
type Service struct {
	ID                     uuid.UUID         `json:"id"`
	TenantID               uuid.UUID         `json:"-"`
	Name                   string            `json:"name"`
	Labels                 map[string]string `json:"labels"`
	Selector               husk.Selector     `json:"-"`
	SelectorText           string            `json:"selector"`
	Ports                  []Port            `json:"ports"`
	Affinity               Affinity          `json:"affinity"`
	AffinityTimeoutSeconds int               `json:"affinityTimeoutSeconds,omitempty"`
	Headless               bool              `json:"headless"`                 // it has no address
	SecurityGroups         []string          `json:"securityGroups,omitempty"` // in which all its pods are
	Status                 Status            `json:"status"`
	CreatedAt              time.Time         `json:"createdAt"`
}

// Port is a port of a service.
type Port struct {
	Name       string   `json:"name,omitempty"`
	Protocol   Protocol `json:"protocol"`
	Port       int      `json:"port"`
	TargetPort int      `json:"targetPort"` // of the pods
}

// Status is what follows from the tenant's pods.
type Status struct {
	Address           string     `json:"address,omitempty"`
	ReadyEndpoints    int        `json:"readyEndpoints"`
	NotReadyEndpoints int        `json:"notReadyEndpoints"`
	Endpoints         []Endpoint `json:"endpoints"` // the first ones
}

// Endpoint is a pod of a service.
type Endpoint struct {
	PodID   uuid.UUID  `json:"podId"`
	PodName string     `json:"podName"`
	Address string     `json:"address"`
	IP      netip.Addr `json:"-"`     // the same address
	Ready   bool       `json:"ready"` // it gets connections
}

// Pod is what services need to know about a pod that has a virtual machine.
type Pod struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	NetworkID uuid.UUID
	Name      string
	Labels    map[string]string
	Address   netip.Addr
	// Interfaces are those in all networks. It is empty if the pod has only NetworkID and Address.
	Interfaces []husk.Interface
	Running    bool // it runs and is not being stopped
	Ready      bool
	Silent     bool // its node does not respond
}

// In returns the interface through which pods in a network reach this pod: the one in the same network, or else, if a router connects the
// network with others, the first one that is not isolated.
func (p Pod) In(network uuid.UUID, isolated bool) (husk.Interface, bool) {
	all := p.all()
	if at := slices.IndexFunc(all, func(i husk.Interface) bool { return i.NetworkID == network }); at >= 0 {
		return all[at], true
	}
	if isolated {
		return husk.Interface{}, false
	}
	return husk.Routed(all)
}

func (p Pod) all() []husk.Interface {
	if len(p.Interfaces) > 0 {
		return p.Interfaces
	}
	if !p.Address.IsValid() {
		return nil
	}
	return []husk.Interface{{NetworkID: p.NetworkID, Address: netip.PrefixFrom(p.Address, p.Address.BitLen())}}
}

// Endpoints returns those of the tenant's pods that are endpoints of the service: the ready ones first, and each in the order of their addresses.
// The virtual address of a service is behind a router, so a pod that is only in isolated networks is an endpoint of headless services only. A pod
// on a node that does not respond is ready only if there is no other one: if all nodes are silent, it may be the servers that hear nothing.
func (s Service) Endpoints(pods []Pod) []Endpoint {
	endpoints, heard, silent := []Endpoint{}, 0, []int(nil)
	for _, p := range pods {
		if p.TenantID != s.TenantID || !s.Selector.Matches(p.Labels) {
			continue
		}
		at, ok := p.In(uuid.Nil, false)
		if all := p.all(); !ok && s.Headless && len(all) > 0 {
			at, ok = all[0], true
		}
		if !ok {
			continue
		}
		ready := p.Running && p.Ready
		switch {
		case ready && p.Silent:
			silent = append(silent, len(endpoints))
			ready = false
		case ready:
			heard++
		}
		endpoints = append(endpoints, Endpoint{p.ID, p.Name, at.Address.Addr().String(), at.Address.Addr(), ready})
	}
	if heard == 0 {
		for _, i := range silent {
			endpoints[i].Ready = true
		}
	}
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		switch {
		case a.Ready != b.Ready && a.Ready:
			return -1
		case a.Ready != b.Ready:
			return 1
		}
		if order := a.IP.Compare(b.IP); order != 0 {
			return order
		}
		return bytes.Compare(a.PodID[:], b.PodID[:])
	})
	return endpoints
}

// Ready returns the endpoints that get connections.
func Ready(endpoints []Endpoint) []Endpoint {
	n, _ := slices.BinarySearchFunc(endpoints, false, func(e Endpoint, _ bool) int {
		if e.Ready {
			return -1
		}
		return 0
	})
	return endpoints[:min(n, MaxEndpoints)]
}

// WithEndpoints returns the service with the status that follows from the tenant's pods.
func (s Service) WithEndpoints(pods []Pod) Service {
	endpoints := s.Endpoints(pods)
	s.Status.ReadyEndpoints = 0
	for _, e := range endpoints {
		if e.Ready {
			s.Status.ReadyEndpoints++
		}
	}
	s.Status.NotReadyEndpoints = len(endpoints) - s.Status.ReadyEndpoints
	s.Status.Endpoints = endpoints[:min(len(endpoints), MaxShown)]
	return s
}

// Complete returns the service with the defaults of what was left out.
func (s Service) Complete() Service {
	s.Ports = slices.Clone(s.Ports)
	if s.Ports == nil {
		s.Ports = []Port{}
	}
	for i := range s.Ports {
		if s.Ports[i].Protocol == "" {
			s.Ports[i].Protocol = TCP
		}
		if s.Ports[i].TargetPort == 0 {
			s.Ports[i].TargetPort = s.Ports[i].Port
		}
	}
	if s.Affinity == "" {
		s.Affinity = AffinityNone
	}
	if s.Affinity == AffinityClient && s.AffinityTimeoutSeconds == 0 {
		s.AffinityTimeoutSeconds = DefaultAffinitySeconds
	}
	s.SelectorText = s.Selector.String()
	return s
}

// Check refuses a service that could not work. The service is complete. Codes: invalid.
func (s Service) Check() error {
	switch {
	case len(s.Selector) == 0:
		return husk.Errorf(husk.CodeInvalid, "selector", "the selector selects all pods; name a label, such as app=%s", s.Name)
	case len(s.Ports) == 0 && !s.Headless:
		return husk.Errorf(husk.CodeInvalid, "ports", "the service has no ports; add one, or make the service headless")
	case s.Headless && s.Affinity != AffinityNone:
		return husk.Errorf(husk.CodeInvalid, "affinity", "clients choose the pod of a headless service themselves; leave the affinity out")
	case s.Affinity == AffinityNone && s.AffinityTimeoutSeconds != 0:
		return husk.Errorf(husk.CodeInvalid, "affinityTimeoutSeconds", "the affinity is none; set it to client, or leave the timeout out")
	}
	names, numbers := map[string]bool{}, map[Port]bool{}
	for i, p := range s.Ports {
		number := Port{Protocol: p.Protocol, Port: p.Port}
		switch at := "ports[" + strconv.Itoa(i) + "]"; {
		case p.Name == "" && len(s.Ports) > 1:
			return husk.Errorf(husk.CodeInvalid, at+".name", "each of several ports needs a name")
		case names[p.Name]:
			return husk.Errorf(husk.CodeInvalid, at+".name", "another port has the name %q", p.Name)
		case numbers[number]:
			return husk.Errorf(husk.CodeInvalid, at+".port", "another port is %s %d", p.Protocol, p.Port)
		}
		names[p.Name], numbers[number] = true, true
	}
	return nil
}
