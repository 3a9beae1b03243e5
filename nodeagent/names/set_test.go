// SPDX-License-Identifier: Apache-2.0

package names

import (
	"log/slog"
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
	if len(second.versions) != 2 || second.versions[z.NetworkID] != "1" || second.Server(z.NetworkID).zone.Load() == nil {
		t.Fatalf("after a restart, the versions are %v", second.versions)
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
	if _, err := os.Stat(damaged); len(third.versions) != 0 || err == nil {
		t.Errorf("with a damaged file, the versions are %v", third.versions)
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
	if len(s.versions) != 1 || s.versions[good.NetworkID] != "1" {
		t.Errorf("the versions are %v", s.versions)
	}
}
