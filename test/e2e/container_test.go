package e2e

import (
	"strings"
	"testing"
	"time"

	"husk/openapi"
)

// What the image says about running it is in force, and the pod's own word goes before it.
func TestContainersRunAsImageAndPodSay(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	data := tn.volume(t, "data")
	script := `
echo "env=$GREETING args=$0,$1 cwd=$(pwd) id=$(id -u):$(id -g) host=$(hostname)"
echo "file=$(cat /etc/husk/note) mode=$(stat -c %a /etc/husk/note)"
touch /ro/x 2>/dev/null && echo "wrote to a read-only mount"
echo on-stderr >&2
wget -q -O- http://127.0.0.1:8000/ && echo "the other container answers on loopback"
exec sleep 1000000`
	pod := tn.order(t, "containers", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		main := openapi.Container{
			Name: "main", Image: busybox, Command: &[]string{"sh", "-c", script}, Args: &[]string{"zero", "one"}, WorkingDir: new("/var/www"),
			User: new("user"), Env: &[]openapi.EnvVar{{Name: "GREETING", Value: "hello <&> \"you\""}},
			Files:        &[]openapi.File{{Path: "/etc/husk/note", Content: new("put here"), Mode: new("0640")}},
			VolumeMounts: &[]openapi.VolumeMount{{Volume: "data", MountPath: "/ro", ReadOnly: new(true)}},
		}
		main.Files = &[]openapi.File{{Path: "/etc/husk/note", Content: new("put here"), Mode: new("0644")}}
		other := openapi.Container{Name: "other", Image: busybox, Command: &[]string{"httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/var/www"}}
		s.Containers = []openapi.Container{other, main}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	main := &openapi.GetPodLogsParams{Container: new("main")}
	eventually(t, 30*time.Second, func() error {
		if log := tn.logs(t, pod.ID, main); !strings.Contains(log, "on-stderr") {
			return errNotYet
		}
		return nil
	})
	log := tn.logs(t, pod.ID, main)
	for _, want := range []string{
		`env=hello <&> "you" args=zero,one cwd=/var/www id=1000:1000 host=containers`, "file=put here mode=644", "on-stderr",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "wrote to a read-only mount") {
		t.Errorf("a read-only mount can be written:\n%s", log)
	}
	if tail := tn.logs(t, pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Tail: new(0)}); tail != "" {
		t.Errorf("tail=0 gives %q", tail)
	}
	ndjson := tn.logs(t, pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Accept: new("application/x-ndjson")})
	if !strings.Contains(ndjson, `"stream":"stderr","line":"on-stderr"`) {
		t.Errorf("JSON lines do not tell streams apart:\n%s", ndjson)
	}
}

// An image with every oddity that OCI allows arrives whole: it checks itself.
func TestAnOddImageArrivesWhole(t *testing.T) {
	tn := newTenant(t)
	image := tn.importImage(t, "torture")
	pod := tn.order(t, "torture", func(s *openapi.PodSpec) {
		s.Resources.MemoryMiB = 256
		s.RestartPolicy = new(openapi.Never)
		s.Containers = []openapi.Container{{Name: "main", Image: image}}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseSucceeded)
	tn.says(t, pod.ID, "torture: ok")
}

// Restart policies follow the exit code, with a growing wait.
func TestRestartPolicies(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	order := func(name string, policy openapi.RestartPolicy, script string) openapi.Pod {
		return tn.order(t, name, func(s *openapi.PodSpec) {
			s.Resources.CPUMillis = 500
			s.RestartPolicy = &policy
			s.Containers = []openapi.Container{shell(busybox, script)}
		})
	}
	never := order("never", openapi.Never, "echo bye; exit 3")
	done := order("done", openapi.OnFailure, "exit 0")
	always := order("always", openapi.Always, "echo again; exit 0")

	failed := tn.wait(t, never.ID, openapi.PodPhaseFailed)
	if c := failed.Status.Containers[0]; c.ExitCode == nil || *c.ExitCode != 3 || c.Restarts != 0 {
		t.Errorf("a container that ended with 3 under Never: %+v", c)
	}
	tn.says(t, never.ID, "bye") // the log outlives the machine
	if qemu(never.ID.String()) != 0 {
		t.Error("the machine of a pod that has failed still runs")
	}
	tn.wait(t, done.ID, openapi.PodPhaseSucceeded)
	eventually(t, 60*time.Second, func() error {
		pod, err := tn.get(t.Context(), always.ID)
		if err == nil && (len(pod.Status.Containers) == 0 || pod.Status.Containers[0].Restarts < 2) {
			return errNotYet
		}
		return err
	})
	if pod, err := tn.get(t.Context(), always.ID); err != nil || pod.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("a pod whose container is restarted is %s (%v)", pod.Status.Phase, err)
	}
}

// A pod that cannot run says why, in the guest's own words.
func TestAPodWithoutItsCommandFails(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	pod := tn.order(t, "lost", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{{Name: "main", Image: busybox, Command: &[]string{"no-such-program"}}}
	})
	failed := tn.wait(t, pod.ID, openapi.PodPhaseFailed)
	if m := value(failed.Status.Message); !strings.Contains(m, "no-such-program") || !strings.Contains(m, "not found") {
		t.Errorf("the message is %q; it should name the command and say that it was not found", m)
	}
	if c := failed.Status.Containers[0]; c.ExitCode == nil || *c.ExitCode != 127 {
		t.Errorf("the exit code should be 127: %+v", c)
	}
}

// A container is asked to stop, has its grace period, and what it writes then is kept.
func TestDeletionIsClean(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	data := tn.volume(t, "data")
	mount := func(s *openapi.PodSpec, script string) {
		s.Volumes = &[]openapi.PodVolume{data}
		c := shell(busybox, script)
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
		s.TerminationGracePeriodSeconds = new(20)
	}
	first := tn.order(t, "first", func(s *openapi.PodSpec) {
		mount(s, `trap 'echo "said goodbye" > /data/last; exit 0' TERM; echo ready; while :; do sleep 0.1; done`)
	})
	tn.wait(t, first.ID, openapi.PodPhaseRunning)
	tn.says(t, first.ID, "ready")
	tn.deletePod(t, first.ID)
	second := tn.order(t, "second", func(s *openapi.PodSpec) { mount(s, "trap exit TERM; cat /data/last; while :; do sleep 0.1; done") })
	tn.wait(t, second.ID, openapi.PodPhaseRunning)
	tn.says(t, second.ID, "said goodbye")
}
