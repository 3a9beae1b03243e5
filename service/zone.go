// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/google/uuid"
)

// DefaultSuffix is the end of all names of pods and services, if the operator chooses no other. The top-level domain internal is reserved for
// such names.
const DefaultSuffix = "husk.internal"

// MaxZoneEndpoints is how many addresses all headless services of a zone have together. If there are more, each of them has fewer.
const MaxZoneEndpoints = 200_000

var suffixForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

// CheckSuffix refuses what cannot be the end of names.
func CheckSuffix(suffix string) error {
	if len(suffix) > 120 || !suffixForm.MatchString(suffix) {
		return fmt.Errorf("%q is not a domain of lower-case letters, digits and hyphens, such as %s; it has at most 120 characters", suffix, DefaultSuffix)
	}
	return nil
}

// Search returns the search domains with which short names of services and pods are found.
func Search(suffix string) []string { return []string{suffix, PodsLabel + "." + suffix} }

// PodsLabel is the label below which the names of pods are.
const PodsLabel = "pods"

// Update is what has changed of the zones that a node knows.
type Update struct {
	Zones           []Zone      `json:"zones"`
	RemovedNetworks []uuid.UUID `json:"removedNetworks"`
}

// Zone is what the name servers of one network know. Services are called NAME.SUFFIX, and pods NAME.pods.SUFFIX.
type Zone struct {
	NetworkID uuid.UUID     `json:"networkId"`
	Version   string        `json:"version"` // of the content: two zones with the same version are the same
	Suffix    string        `json:"suffix"`
	Ranges    []string      `json:"ranges"`  // of the addresses of pods and services
	Forward   bool          `json:"forward"` // pods may resolve names outside of the zone
	Pods      []ZonePod     `json:"pods"`
	Services  []ZoneService `json:"services"`
}

// ZonePod is a pod that has a virtual machine.
type ZonePod struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// ZoneService is a service with an address, or a headless one with its ready pods.
type ZoneService struct {
	Name    string     `json:"name"`
	Address string     `json:"address,omitempty"` // empty: headless
	Ports   []ZonePort `json:"ports,omitempty"`   // those with names
	Pods    []int      `json:"pods,omitempty"`    // of a headless service: the places of its ready pods in the list of pods
}

// ZonePort is a port that clients connect to: of the service, or of the pods of a headless service.
type ZonePort struct {
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`
	Port     int      `json:"port"`
}

// NewZone returns the zone of a network with these pods, which have virtual machines, and services.
func NewZone(network uuid.UUID, suffix string, ranges []string, pods []Pod, services []Service) Zone {
	z := Zone{NetworkID: network, Suffix: suffix, Ranges: ranges, Forward: true, Pods: []ZonePod{}, Services: []ZoneService{}}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return p.NetworkID != network || !p.Address.IsValid() })
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	places := make(map[uuid.UUID]int, len(pods))
	for i, p := range pods {
		places[p.ID] = i
		z.Pods = append(z.Pods, ZonePod{p.Name, p.Address.String()})
	}
	services = slices.DeleteFunc(slices.Clone(services), func(s Service) bool { return s.NetworkID != network })
	slices.SortFunc(services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	headless := 0
	for _, s := range services {
		if s.Headless {
			headless++
		}
	}
	for _, s := range services {
		zs := ZoneService{Name: s.Name, Address: s.Status.Address}
		for _, p := range s.Ports {
			if p.Name == "" {
				continue
			}
			port := ZonePort{p.Name, p.Protocol, p.Port}
			if s.Headless {
				port.Port = p.TargetPort
			}
			zs.Ports = append(zs.Ports, port)
		}
		if s.Headless {
			ready := Ready(s.Endpoints(pods))
			for _, e := range ready[:min(len(ready), MaxZoneEndpoints/headless)] {
				zs.Pods = append(zs.Pods, places[e.PodID])
			}
		}
		z.Services = append(z.Services, zs)
	}
	sum := sha256.Sum256(z.json())
	z.Version = base64.RawURLEncoding.EncodeToString(sum[:12])
	return z
}

func (z Zone) json() []byte {
	raw, err := json.Marshal(z)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return raw
}

// Bytes returns the size of the zone as JSON.
func (z Zone) Bytes() int { return len(z.json()) }
