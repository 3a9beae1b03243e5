// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/openapi"
	"husk/test/stack"
)

// The restore drill of docs/backup.md. A backup of the database is restored. The agent follows it, although its revisions are lower than those
// that the agent has seen: pods of the backup are not disturbed, later ones end, and new ones run. Volumes of the backup have their content.
// A later volume stays until an operator decides, and its content is copied to a new one.
func TestAnAgentFollowsARestoredDatabase(t *testing.T) {
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	createWith := func(name, script string, volumes ...openapi.PodVolume) openapi.Pod {
		t.Helper()
		pod := tn.Create(t, name, func(s *openapi.PodSpec) {
			c := stack.Shell(busybox, script)
			for _, v := range volumes {
				s.Volumes = &volumes
				c.VolumeMounts = &[]openapi.VolumeMount{{Volume: v.Name, MountPath: "/data"}}
			}
			s.Containers = []openapi.Container{c}
		})
		return tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	}
	create := func(name string) openapi.Pod {
		t.Helper()
		return createWith(name, "exec sleep 1000000")
	}
	const write = "hostname > /data/writer; sync; echo written; exec sleep 1000000"
	kept := tn.Volume(t, "kept")
	first := createWith("first", write, kept)
	tn.WaitForLog(t, first.ID, "main", "written")
	machine := stack.QEMU(first.ID)
	backup := filepath.Join(t.TempDir(), "husk.dump")
	tn.Postgres(t, "pg_dump", "-Fc", "-f", backup, "husk")
	newer := tn.Volume(t, "newer")
	later := createWith("later", write, newer)
	tn.WaitForLog(t, later.ID, "main", "written")

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
	if r := tn.Run(t, nil, "exec", "first", "--", "cat", "/data/writer"); strings.TrimSpace(r.Out) != "first" {
		t.Errorf("the volume of the backup: %+v", r)
	}

	// The later volume, whose row is gone.
	name := husk.Volume{ID: *newer.VolumeID}.RBDName()
	unknown := func() (openapi.UnknownObject, error) {
		all, err := tn.Operator.UnknownObjects(t.Context())
		for _, o := range all {
			if o.Name == name {
				return o, nil
			}
		}
		return openapi.UnknownObject{}, errors.Join(err, fmt.Errorf("%s is not among the unknown objects %+v", name, all))
	}
	tn.Kill(t, "server") // a leader compares when it begins to lead
	stack.Eventually(t, time.Minute, func() error { _, err := unknown(); return err })
	recovered := tn.Volume(t, "recovered")
	stack.Eventually(t, time.Minute, func() error { // its file system is made before that
		v, err := tn.API.Volumes.Get(t.Context(), *recovered.VolumeID)
		if err == nil && v.State != openapi.VolumeStateAvailable {
			err = fmt.Errorf("the volume is %s", v.State)
		}
		return err
	})
	disk := func(name string) string {
		return "rbd:husk-volumes/" + name + ":id=admin:conf=" + tn.Env["HUSK_CEPH_CONF"]
	}
	// -n writes to a disk that exists.
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", disk(name), disk(husk.Volume{ID: *recovered.VolumeID}.RBDName())).CombinedOutput(); err != nil {
		t.Fatalf("copy the volume: %v\n%s", err, out)
	}
	reader := createWith("reader", "cat /data/writer; exec sleep 1000000", recovered)
	tn.WaitForLog(t, reader.ID, "main", "later")
	if err := tn.Operator.DeleteUnknownObject(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 3*time.Minute, func() error {
		if o, err := unknown(); err == nil {
			return fmt.Errorf("%+v still exists", o)
		}
		return nil
	})
	if disks := tn.RBD(t, "ls", "husk-volumes"); strings.Contains(disks, name) {
		t.Errorf("the removed volume is left: %s", disks)
	}
}
