// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// ready waits until a snapshot is Ready.
func ready(t *testing.T, tn *stack.Tenant, id uuid.UUID) (s openapi.Snapshot) {
	t.Helper()
	stack.Eventually(t, time.Minute, func() (err error) {
		if s, err = tn.API.Snapshots.Get(t.Context(), id); err == nil && s.State != openapi.SnapshotStateReady {
			err = fmt.Errorf("the snapshot is %+v", s)
		}
		return err
	})
	return s
}

func snapshot(t *testing.T, tn *stack.Tenant, name string, of openapi.PodVolume) openapi.Snapshot {
	t.Helper()
	s, err := tn.API.Snapshots.Create(t.Context(), openapi.SnapshotCreate{Name: name, VolumeID: *of.VolumeID})
	if err != nil {
		t.Fatal(err)
	}
	return ready(t, tn, s.ID)
}

// clone makes a volume from a snapshot.
func clone(t *testing.T, tn *stack.Tenant, name string, s openapi.Snapshot, flatten bool) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: name, SizeGiB: s.SizeGiB, Source: &openapi.VolumeSource{SnapshotID: s.ID}, Flatten: &flatten})
	if err != nil {
		t.Fatal(err)
	}
	return openapi.PodVolume{Name: name, VolumeID: &v.ID}
}

func available(t *testing.T, tn *stack.Tenant, v openapi.PodVolume) (volume openapi.Volume) {
	t.Helper()
	stack.Eventually(t, time.Minute, func() (err error) {
		if volume, err = tn.API.Volumes.Get(t.Context(), *v.VolumeID); err == nil && volume.State != openapi.VolumeStateAvailable {
			err = fmt.Errorf("the volume is %+v", volume)
		}
		return err
	})
	return volume
}

// A snapshot of a volume in use, a clone, a restore, and what protects them from being deleted.
func TestSnapshotsClonesAndRestores(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	say := func(name string, v openapi.PodVolume, script, want string) {
		t.Helper()
		pod := tn.Create(t, name, with(v, busybox, script+"; sync; echo done; exec sleep 1000000"))
		tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", want)
	}
	say("writer", data, "echo one > /data/file", "done\n")
	s := snapshot(t, tn, "first", data)
	if s.TakenAt == nil || s.ProgressPercent != 100 || s.VolumeName != "data" || s.SizeGiB != 1 {
		t.Errorf("the snapshot is %+v", s)
	}
	if r := tn.Run(t, nil, "exec", "writer", "--", "sh", "-c", "echo two > /data/file; sync"); r.Code != 0 {
		t.Fatalf("husk exec: %+v", r)
	}
	copied := clone(t, tn, "copy", s, false)
	say("reader", copied, "echo the clone has $(cat /data/file); echo three > /data/file", "the clone has one\n")
	if v, err := tn.API.Volumes.Get(t.Context(), *copied.VolumeID); err != nil || v.Source == nil || v.Source.SnapshotID != s.ID {
		t.Errorf("the clone is %+v: %v", v, err)
	}
	if err := tn.API.Snapshots.Delete(t.Context(), s.ID); !client.HasCode(err, husk.CodeSnapshotInUse) {
		t.Errorf("the deletion of a snapshot that a volume needs: %v", err)
	}
	_, err := tn.API.Volumes.Restore(t.Context(), *data.VolumeID, s.ID)
	if !client.HasCode(err, husk.CodeVolumeInUse) {
		t.Errorf("the restore of a volume in use: %v", err)
	}
	for _, name := range []string{"writer", "reader"} {
		pod, err := tn.API.Pods.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		tn.DeletePod(t, pod.ID)
	}
	// Of the clone too, whose old RBD image shares data with the snapshot.
	for _, v := range []openapi.PodVolume{data, copied} {
		if _, err := tn.API.Volumes.Restore(t.Context(), *v.VolumeID, s.ID); err != nil {
			t.Fatal(err)
		}
		available(t, tn, v)
	}
	say("restored", data, "echo the volume has $(cat /data/file)", "the volume has one\n")
	say("restored-copy", copied, "echo the clone has $(cat /data/file)", "the clone has one\n")

	flat := clone(t, tn, "flat", s, true)
	if v := available(t, tn, flat); v.Source != nil {
		t.Errorf("the flattened volume is %+v", v)
	}
	quota, err := tn.API.Quota(t.Context())
	if err != nil || quota.Used.Snapshots != 1 || quota.Used.VolumeGiB != 4 {
		t.Errorf("the quota is %+v: %v", quota, err)
	}
	if r := tn.Run(t, nil, "snapshots"); r.Code != 0 || !contains(r.Out, "first") || !contains(r.Out, "Ready") {
		t.Errorf("husk snapshots: %+v", r)
	}
}

// A snapshot of a running PostgreSQL is consistent, and a second PostgreSQL starts with a clone while the first one runs.
func TestPostgresRunsOnACloneOfASnapshot(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image, data := tn.ImportImage(t, "postgres"), tn.Volume(t, "pgdata")
	spec := func(v openapi.PodVolume) func(*openapi.PodSpec) {
		return func(s *openapi.PodSpec) {
			s.Resources.MemoryMiB = 384
			s.Volumes = &[]openapi.PodVolume{v}
			s.Containers = []openapi.Container{{
				Name: "main", Image: image, VolumeMounts: &[]openapi.VolumeMount{{Volume: v.Name, MountPath: "/var/lib/postgresql/data"}},
				Env: &[]openapi.EnvVar{{Name: "POSTGRES_PASSWORD", Value: new("secret")}},
			}}
		}
	}
	first := tn.Wait(t, tn.Create(t, "db", spec(data)).ID, openapi.PodPhaseRunning)
	conn := connect(t, tn, first)
	if _, err := conn.Exec(t.Context(), "CREATE TABLE counted (n int PRIMARY KEY); CREATE TABLE also (n int PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	// PostgreSQL writes its rows through, and its image's script did not do so with the configuration.
	if r := tn.Run(t, nil, "exec", "db", "--", "sync"); r.Code != 0 {
		t.Fatalf("husk exec: %+v", r)
	}
	// Each transaction writes to both tables.
	ctx, stop := context.WithCancel(t.Context())
	var committed atomic.Int64
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := conn.Exec(ctx, "BEGIN; INSERT INTO counted VALUES ("+strconv.Itoa(n)+"); INSERT INTO also VALUES ("+strconv.Itoa(n)+"); COMMIT"); err != nil {
				return
			}
			committed.Add(1)
		}
	})
	stack.Eventually(t, 30*time.Second, func() error {
		if committed.Load() < 20 {
			return stack.ErrNotYet
		}
		return nil
	})
	before := int(committed.Load())
	s, err := tn.API.Snapshots.Create(t.Context(), openapi.SnapshotCreate{Name: "running", VolumeID: *data.VolumeID})
	if err != nil {
		t.Fatal(err)
	}
	s = ready(t, tn, s.ID)
	began := time.Now()
	second := tn.Wait(t, tn.Create(t, "copy", spec(clone(t, tn, "copy", s, false))).ID, openapi.PodPhaseRunning)
	copied := connect(t, tn, second)
	fromClone := time.Since(began)
	stop()
	writing.Wait()
	all := int(committed.Load())
	var counted, also, last int
	if err := copied.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM counted), (SELECT count(*) FROM also), (SELECT COALESCE(max(n), -1) FROM counted)").Scan(&counted, &also, &last); err != nil {
		t.Fatal(err)
	}
	if counted != also || last != counted-1 || counted > all || counted < before { // what was committed before the request is in it
		t.Errorf("the clone has %d and %d rows up to %d; %d were committed before the request, and %d in all", counted, also, last, before, all)
	}
	if _, err := copied.Exec(t.Context(), "CREATE EXTENSION amcheck; SELECT bt_index_check('counted_pkey', true), bt_index_check('also_pkey', true)"); err != nil {
		t.Errorf("amcheck: %v", err)
	}
	tn.DeletePod(t, second.ID)
	tn.DeletePod(t, first.ID)
	began = time.Now()
	connect(t, tn, tn.Wait(t, tn.Create(t, "again", spec(data)).ID, openapi.PodPhaseRunning))
	normal := time.Since(began)
	t.Logf("%d of %d transactions are in the snapshot. PostgreSQL answers %s after its clone was requested, and %s after a normal start: %.2f times", counted, all,
		fromClone.Round(10*time.Millisecond), normal.Round(10*time.Millisecond), fromClone.Seconds()/normal.Seconds())
}

// connect waits until the pod's PostgreSQL accepts connections.
func connect(t *testing.T, tn *stack.Tenant, pod openapi.Pod) (conn *pgx.Conn) {
	t.Helper()
	config, err := pgx.ParseConfig("postgres://postgres:secret@" + *pod.Status.Address + "/postgres?connect_timeout=10")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = tn.Dialer(pod, 5432)
	stack.Eventually(t, 2*stack.BootTime, func() (err error) {
		conn, err = pgx.ConnectConfig(t.Context(), config)
		return err
	})
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// A schedule takes snapshots of a volume in use, and keeps only the latest.
func TestASnapshotSchedule(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	data := tn.Volume(t, "data")
	if r := tn.Run(t, nil, "volume", "schedule", "data", "--every", "1m", "--keep", "1"); r.Code != 0 || !contains(r.Out, "gets a snapshot every 1m and keeps 1") {
		t.Fatalf("husk volume schedule: %+v", r)
	}
	seen := map[uuid.UUID]bool{}
	stack.Eventually(t, 4*time.Minute, func() error { // three runs, so the first is gone
		all := map[uuid.UUID]openapi.Snapshot{}
		for s, err := range tn.API.Snapshots.List(t.Context(), client.Select{}) {
			if err != nil {
				return err
			}
			all[s.ID] = s
			if openapi.Value(s.Scheduled) && s.State == openapi.SnapshotStateReady && s.VolumeID == *data.VolumeID {
				seen[s.ID] = true
			}
		}
		if len(seen) < 2 || len(all) > 1 {
			return fmt.Errorf("%d snapshots were Ready, and there are %+v", len(seen), all)
		}
		return nil
	})
	if r := tn.Run(t, nil, "volume", "schedule", "data", "--off"); r.Code != 0 {
		t.Fatalf("husk volume schedule --off: %+v", r)
	}
}

// A consistent snapshot has what a program has written without writing it back, while it continues to write.
func TestAConsistentSnapshot(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	for _, fsType := range []openapi.FSType{openapi.FSTypeExt4, openapi.FSTypeXfs} {
		name := string(fsType)
		data := volumeOf(t, tn, name, fsType)
		pod := tn.Wait(t, tn.Create(t, "writer-"+name, with(data, busybox, "n=0; while :; do n=$((n+1)); echo $n > /data/$n; echo wrote $n; sleep 0.05; done")).ID, openapi.PodPhaseRunning)
		for _, n := range []int{1, 40, 80} {
			tn.WaitForLog(t, pod.ID, "main", fmt.Sprintf("wrote %d\n", n))
			title := fmt.Sprintf("%s-%d", name, n)
			if r := tn.Run(t, nil, "snapshot", "create", title, "--volume", name, "--consistent"); r.Code != 0 {
				t.Fatalf("husk snapshot create: %+v", r)
			}
			s, err := tn.API.Snapshots.Find(t.Context(), title)
			if err != nil {
				t.Fatal(err)
			}
			if s = ready(t, tn, s.ID); !openapi.Value(s.Consistent) {
				t.Errorf("the snapshot is %+v", s)
			}
			copied := clone(t, tn, "copy-"+title, s, false)
			reader := tn.Create(t, "reader-"+title, with(copied, busybox, fmt.Sprintf("echo the clone has $(cat /data/%d); exec sleep 1000000", n)))
			tn.WaitForLog(t, tn.Wait(t, reader.ID, openapi.PodPhaseRunning).ID, "main", fmt.Sprintf("the clone has %d\n", n))
		}
		if got, err := tn.API.Pods.Get(t.Context(), pod.ID); err != nil || got.Status.Phase != openapi.PodPhaseRunning || openapi.Value(got.Status.Restarts) != 0 {
			t.Errorf("the writer is %+v: %v", got.Status, err)
		}
		tn.DeletePod(t, pod.ID)
	}
	raw := volumeOf(t, tn, "raw", openapi.FSTypeNone)
	available(t, tn, raw)
	if _, err := tn.API.Snapshots.Create(t.Context(), openapi.SnapshotCreate{Name: "raw", VolumeID: *raw.VolumeID, Consistent: new(true)}); !client.HasCode(err, husk.CodeInvalid) {
		t.Errorf("a consistent snapshot of a block device: %v", err)
	}
}

// A consistent snapshot of a volume whose pod does not answer fails with the reason, and the volume can be used again.
func TestAConsistentSnapshotOfAPodThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	pod := tn.Wait(t, tn.Create(t, "stuck", with(data, busybox, "while :; do echo x >> /data/log; sleep 0.1; done")).ID, openapi.PodPhaseRunning)
	qemu := stack.QEMU(pod.ID)
	if err := syscall.Kill(qemu, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(qemu, syscall.SIGCONT) }
	t.Cleanup(resume)
	s, err := tn.API.Snapshots.Create(t.Context(), openapi.SnapshotCreate{Name: "late", VolumeID: *data.VolumeID, Consistent: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 4*time.Minute, func() error {
		s, err := tn.API.Snapshots.Get(t.Context(), s.ID)
		if err == nil && (s.State != openapi.SnapshotStateFailed || !contains(openapi.Value(s.Message), "could not be frozen")) {
			err = fmt.Errorf("the snapshot is %+v", s)
		}
		return err
	})
	resume()
	if err := tn.API.Snapshots.Delete(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() (err error) { // once the first one is gone
		s, err = tn.API.Snapshots.Create(t.Context(), openapi.SnapshotCreate{Name: "again", VolumeID: *data.VolumeID, Consistent: new(true)})
		return err
	})
	ready(t, tn, s.ID)
}
