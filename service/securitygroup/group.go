// SPDX-License-Identifier: Apache-2.0

// Package securitygroup describes security groups: named sets of rules about which connections pods get and make.
package securitygroup

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"husk"
)

// Direction is the direction of a connection, as the pod sees it.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Protocol is what a rule is about.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
	ICMP Protocol = "ICMP"
	Any  Protocol = "any"
)

// Limits of a group. A pod names at most husk.MaxSecurityGroups.
const (
	MaxRules   = 64
	MaxPorts   = 16
	MaxPeers   = 32
	MaxExcepts = 16
)

// Group is a security group. The pods in it are those that name it, and those that its selector selects.
type Group struct {
	ID           uuid.UUID         `json:"id"`
	TenantID     uuid.UUID         `json:"-"`
	Name         string            `json:"name"`
	Labels       map[string]string `json:"labels"`
	Selector     husk.Selector     `json:"-"`
	SelectorText string            `json:"selector,omitempty"`
	Restricts    []Direction       `json:"restricts"` // in these directions, pods have only connections that a rule of one of their groups allows
	Rules        []Rule            `json:"rules"`
	Status       Status            `json:"status"`
	CreatedAt    time.Time         `json:"createdAt"`
}

// Rule allows connections.
type Rule struct {
	Number    int64     `json:"number"` // of all rules of all tenants
	Direction Direction `json:"direction"`
	Protocol  Protocol  `json:"protocol"`
	Ports     []Port    `json:"ports,omitempty"` // of the pod that gets the connection; none: all
	Peers     []Peer    `json:"peers,omitempty"` // none: everybody
}

// Port is a port, or a range of ports.
type Port struct {
	Port    int `json:"port"`
	EndPort int `json:"endPort,omitempty"` // 0: the same
}

// Peer is who is at the other end: a range of addresses or the pods of a group.
type Peer struct {
	CIDR   string   `json:"cidr,omitempty"`
	Except []string `json:"except,omitempty"` // blocks in CIDR that do not count
	Group  string   `json:"group,omitempty"`
}

// Status is what follows from the tenant's pods.
type Status struct {
	Pods int `json:"pods"` // how many are in the group
}

// Pod is what groups need to know about a pod.
type Pod struct {
	ID     uuid.UUID
	Labels map[string]string
	Groups []string // that it names
}

// Has reports whether a pod is in the group.
func (g Group) Has(p Pod) bool {
	return slices.Contains(p.Groups, g.Name) || len(g.Selector) > 0 && g.Selector.Matches(p.Labels)
}

// restricts reports whether only rules allow connections in a direction.
func restricts(g Group, d Direction) bool { return slices.Contains(g.Restricts, d) }

// Complete returns the group with the defaults of what was left out. explicit is whether the caller says what the group restricts. By default, that is
// what its pods get, and what they send if there are rules about it.
func (g Group) Complete(explicit bool) Group {
	g.Rules = slices.Clone(g.Rules)
	if g.Rules == nil {
		g.Rules = []Rule{}
	}
	for i := range g.Rules {
		if g.Rules[i].Protocol == "" {
			g.Rules[i].Protocol = Any
		}
	}
	if !explicit {
		g.Restricts = []Direction{Ingress}
		if slices.ContainsFunc(g.Rules, func(r Rule) bool { return r.Direction == Egress }) {
			g.Restricts = append(g.Restricts, Egress)
		}
	}
	if g.Restricts == nil {
		g.Restricts = []Direction{}
	}
	g.SelectorText = g.Selector.String()
	return g
}

// Check refuses a group that could not work. It is complete. Codes: invalid.
func (g Group) Check() error {
	for i, r := range g.Rules {
		at := "rules[" + strconv.Itoa(i) + "]"
		if !restricts(g, r.Direction) {
			return husk.Errorf(husk.CodeInvalid, at+".direction", "the group does not restrict %s, so the rule would have no effect; add %s to restricts, or leave the rule out", r.Direction, r.Direction)
		}
		if len(r.Ports) > 0 && r.Protocol != TCP && r.Protocol != UDP {
			return husk.Errorf(husk.CodeInvalid, at+".ports", "only TCP and UDP have ports; set the protocol, or leave the ports out")
		}
		for j, p := range r.Ports {
			if p.EndPort != 0 && p.EndPort < p.Port {
				return husk.Errorf(husk.CodeInvalid, at+".ports["+strconv.Itoa(j)+"].endPort", "the range ends with %d before it begins with %d", p.EndPort, p.Port)
			}
		}
		for j, p := range r.Peers {
			if err := p.check(at + ".peers[" + strconv.Itoa(j) + "]"); err != nil {
				return err
			}
		}
	}
	if size := g.Size(); size > MaxSize {
		return husk.Errorf(husk.CodeInvalid, "rules", "the rules are too large together: %d blocks of addresses and ports, and the limit is %d; name fewer exceptions and ranges, or use several groups", size, MaxSize)
	}
	return nil
}

func (p Peer) check(at string) error {
	if (p.CIDR == "") == (p.Group == "") {
		return husk.Errorf(husk.CodeInvalid, at, "a peer is a block of addresses or a group; give either cidr or group")
	}
	if p.Group != "" {
		if len(p.Except) > 0 {
			return husk.Errorf(husk.CodeInvalid, at+".except", "only a block of addresses has exceptions; leave them out")
		}
		return nil
	}
	block, err := netip.ParsePrefix(p.CIDR)
	if err != nil || block != block.Masked() || block.Addr().Is4In6() {
		return husk.Errorf(husk.CodeInvalid, at+".cidr", "%q is not a block of addresses such as 192.0.2.0/24", p.CIDR)
	}
	for i, text := range p.Except {
		e, err := netip.ParsePrefix(text)
		if err != nil || e != e.Masked() || e.Addr().Is4() != block.Addr().Is4() || e.Bits() < block.Bits() || !block.Contains(e.Addr()) {
			return husk.Errorf(husk.CodeInvalid, at+".except["+strconv.Itoa(i)+"]", "%q is not a block in %s", text, p.CIDR)
		}
	}
	return nil
}

// Peers returns the names of the groups that are peers of the group's rules.
func (g Group) Peers() []string {
	var names []string
	for _, r := range g.Rules {
		for _, p := range r.Peers {
			if p.Group != "" && !slices.Contains(names, p.Group) {
				names = append(names, p.Group)
			}
		}
	}
	return names
}

// Traffic is what a group has allowed and dropped.
type Traffic struct {
	Rules   []RuleTraffic       `json:"rules"`
	Dropped []DroppedTraffic    `json:"dropped"` // in the directions that the group restricts
	Drops   []husk.SecurityDrop `json:"drops"`   // the latest packets
}

// RuleTraffic is what a rule has allowed, without the answers.
type RuleTraffic struct {
	Number  int64 `json:"number"`
	Packets int64 `json:"packets"`
	Bytes   int64 `json:"bytes"`
}

// DroppedTraffic is what a group has dropped.
type DroppedTraffic struct {
	Direction Direction `json:"direction"`
	Packets   int64     `json:"packets"`
	Bytes     int64     `json:"bytes"`
}
