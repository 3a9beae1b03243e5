// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk/nodeagent/vm"
)

func TestOldLogsOfGoneMachinesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &Agent{cfg: Config{VM: vm.Config{LifeLogDir: dir}}, log: slog.New(slog.DiscardHandler), workers: map[uuid.UUID]*worker{}}
	old, fresh, known := uuid.New(), uuid.New(), uuid.New()
	a.workers[known] = nil
	now := time.Now()
	for file, age := range map[string]time.Duration{
		vm.LifeLog(dir, old.String()): 2 * oldLogs, vm.LifeLog(dir, old.String()) + ".1.gz": 2 * oldLogs, vm.LifeLog(dir, fresh.String()): 0,
		vm.LifeLog(dir, known.String()): 2 * oldLogs, filepath.Join(dir, "husk-of-somebody-else.log"): 2 * oldLogs,
	} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	a.removeLogsBefore(now.Add(-oldLogs))
	left := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left[e.Name()] = true
	}
	want := map[string]bool{"husk-" + fresh.String() + ".log": true, "husk-" + known.String() + ".log": true, "husk-of-somebody-else.log": true}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("the logs (-want +left):\n%s", diff)
	}
}
