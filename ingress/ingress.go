// SPDX-License-Identifier: Apache-2.0

// Package ingress describes ingresses: hosts and paths that reach a tenant's services from outside, over HTTPS. Package store reads and writes them,
// and package ingress/proxy serves them.
package ingress

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk"
)

const (
	// MaxHosts is how many hosts an ingress has at most.
	MaxHosts = 20
	// MaxPaths is how many paths a host has at most.
	MaxPaths = 20
	// KeptRequests is how many of its latest requests are kept of an ingress.
	KeptRequests = 1000
)

// Public is what tenants see of the ingress processes.
type Public struct {
	Addresses []string // public addresses or names, to which the names of hosts must lead
	Reserved  []string // domains that no ingress can have, nor any name below them
}

// Ingress says which services the hosts and paths of a tenant reach.
type Ingress struct {
	ID          uuid.UUID         `json:"id"`
	TenantID    uuid.UUID         `json:"-"`
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels"`
	Rules       []Rule            `json:"rules"`
	HSTSSeconds int               `json:"hstsSeconds"` // how long browsers insist on HTTPS; 0: they do not
	Status      Status            `json:"status"`
	CreatedAt   time.Time         `json:"createdAt"`
}

// Rule is a host with its paths.
type Rule struct {
	Host  string `json:"host"`
	Paths []Path `json:"paths"`
}

// Path is the port of a service that requests for a path, and below it, reach.
type Path struct {
	Path    string `json:"path"`
	Exact   bool   `json:"exact,omitempty"` // not those below it
	Service string `json:"service"`
	Port    int    `json:"port"`
}

// Status is where an ingress is reached, and what is known about its certificates.
type Status struct {
	Addresses []string `json:"addresses"` // to which the names of the hosts must lead
	Hosts     []Host   `json:"hosts"`
}

// State says how far the certificate of a host is.
type State string

// The states of certificates.
const (
	Pending State = "Pending" // requested, or about to be
	Ready   State = "Ready"
	Failed  State = "Failed" // the last attempt failed; it will be repeated
)

// Host is what is known about the certificate of a host.
type Host struct {
	Host      string     `json:"host"`
	State     State      `json:"state"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	Message   string     `json:"message,omitempty"` // why the last attempt failed
}

// Request is a request that an ingress has answered.
type Request struct {
	ID            int64     `json:"id"` // later requests have larger ones
	At            time.Time `json:"at"`
	Client        string    `json:"client"`
	Protocol      string    `json:"protocol"`
	Method        string    `json:"method"`
	Host          string    `json:"host"`
	Path          string    `json:"path"`
	Status        int       `json:"status"`
	ReceivedBytes int64     `json:"receivedBytes"`
	SentBytes     int64     `json:"sentBytes"`
	Milliseconds  int64     `json:"milliseconds"`
	Agent         string    `json:"agent"`
	Note          string    `json:"note,omitempty"` // why the platform has answered itself
}

// Hosts returns the names of all hosts, sorted.
func (i Ingress) Hosts() []string {
	hosts := make([]string, 0, len(i.Rules))
	for _, r := range i.Rules {
		hosts = append(hosts, r.Host)
	}
	slices.Sort(hosts)
	return hosts
}

// Services returns the names of all services, sorted.
func (i Ingress) Services() []string {
	var names []string
	for _, r := range i.Rules {
		for _, p := range r.Paths {
			names = append(names, p.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Complete returns the ingress with the defaults of what was left out.
func (i Ingress) Complete() Ingress {
	i.Rules = slices.Clone(i.Rules)
	if i.Rules == nil {
		i.Rules = []Rule{}
	}
	for n := range i.Rules {
		i.Rules[n].Paths = slices.Clone(i.Rules[n].Paths)
		for m := range i.Rules[n].Paths {
			if p := &i.Rules[n].Paths[m]; p.Path == "" {
				p.Path = "/"
			}
		}
	}
	return i
}

// Check refuses an ingress that could not work. The ingress is complete. The reserved names, and all below them, are not for tenants. Codes: invalid.
func (i Ingress) Check(reserved []string) error {
	hosts := map[string]bool{}
	for n, r := range i.Rules {
		at := "rules[" + strconv.Itoa(n) + "]"
		switch {
		case hosts[r.Host]:
			return husk.Errorf(husk.CodeInvalid, at+".host", "another rule has the host %s; add its paths there", r.Host)
		case isReserved(r.Host, reserved):
			return husk.Errorf(husk.CodeInvalid, at+".host", "the host %s is reserved for the platform; choose another one", r.Host)
		}
		hosts[r.Host] = true
		paths := map[Path]bool{}
		for m, p := range r.Paths {
			at := at + ".paths[" + strconv.Itoa(m) + "].path"
			switch clean := path.Clean(p.Path); {
			case p.Path != clean && p.Path != clean+"/":
				return husk.Errorf(husk.CodeInvalid, at, "requests never have the path %s; write %s", p.Path, clean)
			case paths[key(p)]:
				return husk.Errorf(husk.CodeInvalid, at, "another path of the host %s is %s", r.Host, p.Path)
			default:
				paths[key(p)] = true
			}
		}
	}
	return nil
}

// key returns what distinguishes a path from the others of its host. A slash at the end makes a difference only for an exact one.
func key(p Path) Path {
	if p.Exact {
		return Path{Path: p.Path, Exact: true}
	}
	return Path{Path: path.Clean(p.Path)}
}

func isReserved(host string, reserved []string) bool {
	return slices.ContainsFunc(reserved, func(name string) bool { return host == name || strings.HasSuffix(host, "."+name) })
}

// HostOf returns what is known about a certificate.
func HostOf(name string, expires *time.Time, message string, now time.Time) Host {
	h := Host{Host: name, State: Pending, ExpiresAt: expires, Message: message}
	switch {
	case expires != nil && expires.After(now):
		h.State = Ready
	case message != "":
		h.State = Failed
	}
	return h
}
