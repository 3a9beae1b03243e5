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

// MaxZoneEndpoints is how many pods all headless services of a zone have together. If there are more, each of them has fewer.
const MaxZoneEndpoints = 100_000

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
	Ranges    []string      `json:"ranges"`   // of the addresses of pods and services
	Forward   bool          `json:"forward"`  // pods may resolve names outside of the zone
	Pods      []ZonePod     `json:"pods"`     // by name
	Services  []ZoneService `json:"services"` // by name

	// Since is set if the pods and services are only those that have changed since this version. These have been removed since then.
	Since           string   `json:"since,omitempty"`
	RemovedPods     []string `json:"removedPods,omitempty"`
	RemovedServices []string `json:"removedServices,omitempty"`
}

// ZonePod is a pod that has a virtual machine.
type ZonePod struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Address6 string `json:"ipv6Address,omitempty"`
}

// ZoneService is a service with an address, or a headless one with its ready pods.
type ZoneService struct {
	Name    string     `json:"name"`
	Address string     `json:"address,omitempty"` // empty: headless
	Ports   []ZonePort `json:"ports,omitempty"`   // those with names
	Pods    []string   `json:"pods,omitempty"`    // of a headless service: its ready pods
}

// ZonePort is a port that clients connect to: of the service, or of the pods of a headless service.
type ZonePort struct {
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`
	Port     int      `json:"port"`
}

// Of describes the network of a zone.
type Of struct {
	Network  uuid.UUID
	Isolated bool     // no router connects it with others
	Suffix   string   // of names
	Ranges   []string // of the addresses of pods and services that the network reaches
}

// NewZone returns the zone of a network, with those of the tenant's pods and services that pods in it can reach. The pods have virtual machines.
func NewZone(of Of, pods []Pod, services []Service) Zone {
	z := Zone{NetworkID: of.Network, Suffix: of.Suffix, Ranges: of.Ranges, Forward: !of.Isolated, Pods: []ZonePod{}, Services: []ZoneService{}}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool {
		_, ok := p.In(of.Network, of.Isolated)
		return !ok
	})
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range pods {
		at, _ := p.In(of.Network, of.Isolated)
		zp := ZonePod{Name: p.Name, Address: at.Address.Addr().String()}
		if at.Address6.IsValid() {
			zp.Address6 = at.Address6.Addr().String()
		}
		z.Pods = append(z.Pods, zp)
	}
	services = slices.DeleteFunc(slices.Clone(services), func(s Service) bool { return of.Isolated && !s.Headless })
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
				zs.Pods = append(zs.Pods, e.PodName)
			}
		}
		z.Services = append(z.Services, zs)
	}
	z.Version = z.version()
	return z
}

// version returns the hash of the content.
func (z Zone) version() string {
	z.Version, z.Since, z.RemovedPods, z.RemovedServices = "", "", nil, nil
	sum := sha256.Sum256(z.json())
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// ChangesSince returns what has changed since another version of the zone. If that is not shorter, it returns the whole zone.
func (z Zone) ChangesSince(old Zone) Zone {
	changes := z
	changes.Since = old.Version
	changes.Pods, changes.RemovedPods = differ(old.Pods, z.Pods, func(p ZonePod) string { return p.Name }, func(a, b ZonePod) bool { return a == b })
	changes.Services, changes.RemovedServices = differ(old.Services, z.Services, func(s ZoneService) string { return s.Name }, func(a, b ZoneService) bool {
		return a.Address == b.Address && slices.Equal(a.Ports, b.Ports) && slices.Equal(a.Pods, b.Pods)
	})
	if z.Suffix != old.Suffix || z.Forward != old.Forward || !slices.Equal(z.Ranges, old.Ranges) || changes.Bytes() >= z.Bytes() {
		return z
	}
	return changes
}

// differ returns the items that are new or have changed, and the names of those that are gone. Both lists are sorted by name.
func differ[T any](old, now []T, name func(T) string, same func(a, b T) bool) (changed []T, gone []string) {
	changed = []T{}
	for len(old) > 0 || len(now) > 0 {
		switch order := compareFirst(old, now, name); {
		case order < 0:
			gone = append(gone, name(old[0]))
			old = old[1:]
		case order > 0:
			changed = append(changed, now[0])
			now = now[1:]
		default:
			if !same(old[0], now[0]) {
				changed = append(changed, now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
	return changed, gone
}

func compareFirst[T any](a, b []T, name func(T) string) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Compare(name(a[0]), name(b[0]))
}

// With returns the zone after changes, or the changes if they are a whole zone. It refuses changes of another version, and a result that is not
// what the server has.
func (z Zone) With(changes Zone) (Zone, error) {
	if changes.Since == "" {
		return changes, nil
	}
	if changes.Since != z.Version {
		return Zone{}, fmt.Errorf("the changes are for the version %s of the zone, not for %s", changes.Since, z.Version)
	}
	now := changes
	now.Since, now.RemovedPods, now.RemovedServices = "", nil, nil
	now.Pods = merge(z.Pods, changes.Pods, changes.RemovedPods, func(p ZonePod) string { return p.Name })
	now.Services = merge(z.Services, changes.Services, changes.RemovedServices, func(s ZoneService) string { return s.Name })
	if is := now.version(); is != changes.Version {
		return Zone{}, fmt.Errorf("with the changes, the zone has the version %s instead of %s", is, changes.Version)
	}
	return now, nil
}

func merge[T any](old, changed []T, gone []string, name func(T) string) []T {
	replaced := make(map[string]bool, len(changed)+len(gone))
	for _, item := range changed {
		replaced[name(item)] = true
	}
	for _, n := range gone {
		replaced[n] = true
	}
	now := make([]T, 0, len(old)+len(changed))
	for _, item := range old {
		if !replaced[name(item)] {
			now = append(now, item)
		}
	}
	now = append(now, changed...)
	slices.SortFunc(now, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return now
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
