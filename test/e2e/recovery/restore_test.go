// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"path/filepath"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A backup of the database is restored. The agent follows it, although its revisions are lower than those that the agent has seen: pods of the
// backup are not disturbed, later ones end, and new ones run.
func TestAnAgentFollowsARestoredDatabase(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	create := func(name string) openapi.Pod {
		pod := tn.Create(t, name, func(s *openapi.PodSpec) {
			s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
		})
		return tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	}
	first := create("first")
	machine := stack.QEMU(first.ID)
	backup := filepath.Join(t.TempDir(), "husk.dump")
	tn.Postgres(t, "pg_dump", "-Fc", "-f", backup, "husk")
	later := create("later")

	tn.Postgres(t, "psql", "-c", "CREATE DATABASE restored OWNER husk_owner")
	tn.Postgres(t, "pg_restore", "-d", "restored", backup)
	tn.Postgres(t, "psql", "-c", "DROP DATABASE husk WITH (FORCE)", "-c", "ALTER DATABASE restored RENAME TO husk")

	created := create("created")
	stack.Eventually(t, time.Minute, func() error {
		if stack.QEMU(later.ID) != 0 {
			return stack.ErrNotYet
		}
		return nil
	})
	if now := stack.QEMU(first.ID); machine == 0 || now != machine {
		t.Errorf("the machine of the first pod was process %d and is %d", machine, now)
	}
	tn.Kill(t, "agent") // it has stored which database it follows
	for _, pod := range []openapi.Pod{first, created} {
		if now, err := tn.Get(t.Context(), pod.ID); err != nil || now.Status.Phase != openapi.PodPhaseRunning {
			t.Errorf("pod %s is %s (%v)", pod.Name, now.Status.Phase, err)
		}
	}
	create("last")
}
