// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"husk/service"
)

func openSet(t *testing.T, dir string) *Set {
	t.Helper()
	s, err := Open(dir, Config{Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNamesOutliveARestartOfTheAgent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "names")
	first := openSet(t, dir)
	z, other := zone(), zone()
	other.NetworkID, other.Version = uuid.UUID{2}, "2"
	if err := first.Apply(service.Update{Zones: []service.Zone{z, other}}); err != nil {
		t.Fatal(err)
	}
	second := openSet(t, dir)
	if len(second.zones) != 2 || second.zones[z.NetworkID].Version != "1" || second.Server(z.NetworkID).zone.Load() == nil {
		t.Fatalf("after a restart, the zones are %v", second.zones)
	}
	held := second.Server(other.NetworkID)
	if err := second.Apply(service.Update{RemovedNetworks: []uuid.UUID{other.NetworkID, uuid.New()}}); err != nil {
		t.Fatal(err)
	}
	if held.zone.Load() != nil || second.Server(other.NetworkID) == held {
		t.Error("a network without pods on the node still has its names")
	}
	// What a disk has damaged is removed, and asked for again.
	damaged := filepath.Join(dir, z.NetworkID.String()+zoneEnding)
	if err := os.WriteFile(damaged, []byte(`{"networkId":`), 0o600); err != nil {
		t.Fatal(err)
	}
	third := openSet(t, dir)
	if _, err := os.Stat(damaged); len(third.zones) != 0 || err == nil {
		t.Errorf("with a damaged file, the zones are %v", third.zones)
	}
}

// A zone that is refused does not hold up the others, and the agent asks for it again.
func TestABadZoneDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	s := openSet(t, t.TempDir())
	bad, good := zone(), zone()
	bad.NetworkID, bad.Suffix = uuid.UUID{2}, ""
	if s.Apply(service.Update{Zones: []service.Zone{bad, good}}) == nil {
		t.Error("a bad zone is no error")
	}
	if len(s.zones) != 1 || s.zones[good.NetworkID].Version != "1" {
		t.Errorf("the zones are %v", s.zones)
	}
}

// Changes that do not fit are refused, and the whole zone is asked for. Meanwhile the old names stay.
func TestChangesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	s := openSet(t, t.TempDir())
	network := uuid.UUID{1}
	pod := func(name, address string) service.Pod {
		return service.Pod{ID: uuid.New(), NetworkID: network, Name: name, Address: netip.MustParseAddr(address)}
	}
	pods := []service.Pod{}
	for i := range 20 {
		pods = append(pods, pod(fmt.Sprintf("p%d", i), fmt.Sprintf("100.64.0.%d", i+2)))
	}
	of := func(pods []service.Pod) service.Zone {
		return service.NewZone(service.Of{Network: network, Suffix: service.DefaultSuffix, Ranges: []string{"100.64.0.0/22"}}, pods, nil)
	}
	first, second := of(pods), of(append(pods, pod("new", "100.64.1.1")))
	changes := second.ChangesSince(first)
	if changes.Since != first.Version || len(changes.Pods) != 1 {
		t.Fatalf("the changes are %+v", changes)
	}
	if s.Apply(service.Update{Zones: []service.Zone{changes}}) == nil {
		t.Error("changes of an unknown zone are accepted")
	}
	for _, z := range []service.Zone{first, changes} {
		if err := s.Apply(service.Update{Zones: []service.Zone{z}}); err != nil || s.zones[network].Version != z.Version {
			t.Fatalf("the zone has the version %s, want %s: %v", s.zones[network].Version, z.Version, err)
		}
	}
	wrong := first.ChangesSince(second)
	wrong.Pods = append(wrong.Pods, service.ZonePod{Name: "x", Address: "100.64.1.2"})
	if s.Apply(service.Update{Zones: []service.Zone{wrong}}) == nil {
		t.Error("changes that lead to another zone are accepted")
	}
	if _, known := s.zones[network]; known || s.Server(network).zone.Load() == nil {
		t.Error("the agent does not ask for the whole zone, or has lost its names")
	}
}
