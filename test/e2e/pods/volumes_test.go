// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/openapi"
	"husk/test/stack"
)

// The main use of Husk: an image is imported over REST, boots as a virtual machine, serves over the
// network and writes to Ceph. The next pod reads the data that the first one wrote.
func TestAPodServesAndItsVolumeOutlivesIt(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	nginx, busybox := tn.ImportImage(t, "nginx"), tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	spec := func(line string) func(*openapi.PodSpec) {
		return func(s *openapi.PodSpec) {
			s.Volumes = &[]openapi.PodVolume{data}
			writer := stack.Shell(busybox, "echo "+line+" >> /data/index.html; sync; sleep 1000000")
			writer.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
			server := openapi.Container{Name: "nginx", Image: nginx}
			server.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/usr/share/nginx/html", ReadOnly: new(true)}}
			s.Containers = []openapi.Container{writer, server}
		}
	}
	first := tn.Wait(t, tn.Create(t, "first", spec("first")).ID, openapi.PodPhaseRunning)
	stack.Eventually(t, 20*time.Second, func() error { return contains(t, tn, first, "first\n") })
	if status := tn.RBD(t, "status", "husk-volumes/vol-"+data.VolumeID.String()); !strings.Contains(status, "watcher=") {
		t.Errorf("no client has the volume open: %s", status)
	}
	tn.WaitForLog(t, first.ID, "nginx", "GET / HTTP/1.1")
	tn.DeletePod(t, first.ID)
	if status := tn.RBD(t, "status", "husk-volumes/vol-"+data.VolumeID.String()); strings.Contains(status, "watcher=") {
		t.Errorf("the volume is still open after its pod was deleted: %s", status)
	}
	second := tn.Wait(t, tn.Create(t, "second", spec("second")).ID, openapi.PodPhaseRunning)
	stack.Eventually(t, 20*time.Second, func() error { return contains(t, tn, second, "first\nsecond\n") })
}

func contains(t *testing.T, tn *stack.Tenant, pod openapi.Pod, want string) error {
	body, err := tn.Page(t.Context(), pod, 80, "/")
	if err == nil && !strings.Contains(body, want) {
		t.Fatalf("the page is %q, want %q in it", body, want)
	}
	return err
}

// A new pod with the same volume still has the rows that PostgreSQL stored in the first pod.
func TestPostgresInAPodKeepsItsRows(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "postgres")
	data := tn.Volume(t, "pgdata")
	spec := func(s *openapi.PodSpec) {
		s.Resources.MemoryMiB = 384
		s.Volumes = &[]openapi.PodVolume{data}
		s.TerminationGracePeriodSeconds = new(30)
		s.Containers = []openapi.Container{{
			Name: "main", Image: image, VolumeMounts: &[]openapi.VolumeMount{{Volume: "pgdata", MountPath: "/var/lib/postgresql/data"}},
			Env: &[]openapi.EnvVar{{Name: "POSTGRES_PASSWORD", Value: new("secret")}},
		}}
	}
	first := tn.Wait(t, tn.Create(t, "db", spec).ID, openapi.PodPhaseRunning)
	psql(t, tn, first, "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")
	tn.DeletePod(t, first.ID)
	second := tn.Wait(t, tn.Create(t, "db", spec).ID, openapi.PodPhaseRunning)
	if got := psql(t, tn, second, "SELECT count(*) || ' ' || sum(n) FROM kept"); got != "1000 500500" {
		t.Errorf("the rows are %q, want 1000 of them with the sum 500500", got)
	}
}

// psql runs statements in a pod's Postgres and returns the first column of the last row, once the server accepts connections.
func psql(t *testing.T, tn *stack.Tenant, pod openapi.Pod, statements ...string) string {
	t.Helper()
	var result string
	config, err := pgx.ParseConfig("postgres://postgres:secret@" + *pod.Status.Address + "/postgres?connect_timeout=10")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = tn.Dialer(pod, 5432)
	stack.Eventually(t, 2*stack.BootTime, func() error { // the first start initialises the database, under emulation
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	})
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // it was only read
	for _, s := range statements {
		rows, err := conn.Query(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		for rows.Next() {
			if values, err := rows.Values(); err == nil && len(values) > 0 {
				result, _ = values[0].(string)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return result
}
