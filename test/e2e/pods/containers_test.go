// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"errors"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A container runs with the settings of its image. The settings in the pod's spec take precedence.
func TestContainersUseTheSettingsOfImageAndPod(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	script := `
echo "env=$GREETING args=$0,$1 cwd=$(pwd) id=$(id -u):$(id -g) host=$(hostname)"
echo "file=$(cat /etc/husk/note) mode=$(stat -c %a /etc/husk/note)"
touch /ro/x 2>/dev/null && echo "wrote to a read-only mount"
echo on-stderr >&2
wget -q -O- http://127.0.0.1:8000/ && echo "the other container answers on loopback"
exec sleep 1000000`
	pod := tn.Create(t, "containers", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		main := openapi.Container{
			Name: "main", Image: busybox, Command: &[]string{"sh", "-c", script}, Args: &[]string{"zero", "one"}, WorkingDir: new("/var/www"),
			User: new("user"), Env: &[]openapi.EnvVar{{Name: "GREETING", Value: new("hello <&> \"you\"")}},
			Files:        &[]openapi.File{{Path: "/etc/husk/note", Content: new("put here"), Mode: new("0640")}},
			VolumeMounts: &[]openapi.VolumeMount{{Volume: "data", MountPath: "/ro", ReadOnly: new(true)}},
		}
		main.Files = &[]openapi.File{{Path: "/etc/husk/note", Content: new("put here"), Mode: new("0644")}}
		other := openapi.Container{Name: "other", Image: busybox, Command: &[]string{"httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/var/www"}}
		s.Containers = []openapi.Container{other, main}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "main", "file=") // stdout and stderr may arrive in any order
	log := tn.WaitForLog(t, pod.ID, "main", "on-stderr")
	for _, want := range []string{
		`env=hello <&> "you" args=zero,one cwd=/var/www id=1000:1000 host=containers`, "file=put here mode=644", "on-stderr",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not contain %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "wrote to a read-only mount") {
		t.Errorf("a read-only mount can be written:\n%s", log)
	}
	if tail := tn.Logs(t, pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Tail: new(0)}); tail != "" {
		t.Errorf("tail=0 gives %q", tail)
	}
	ndjson := tn.Logs(t, pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Accept: new("application/x-ndjson")})
	if !strings.Contains(ndjson, `"stream":"stderr","line":"on-stderr"`) {
		t.Errorf("the JSON lines do not name the stream:\n%s", ndjson)
	}
}

// An image with every unusual kind of entry that OCI allows is imported correctly. The image checks
// itself.
func TestAnUnusualImageIsImportedCompletely(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "torture")
	pod := tn.Create(t, "torture", func(s *openapi.PodSpec) {
		s.Resources.MemoryMiB = 256
		s.RestartPolicy = new(openapi.Never)
		s.Containers = []openapi.Container{{Name: "main", Image: image}}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseSucceeded)
	tn.WaitForLog(t, pod.ID, "", "torture: ok")
}

// The message of a pod that cannot run is the guest's error message.
func TestAPodWithoutItsCommandFails(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "lost", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{{Name: "main", Image: busybox, Command: &[]string{"no-such-program"}}}
	})
	failed := tn.Wait(t, pod.ID, openapi.PodPhaseFailed)
	if len(failed.Status.Containers) == 0 {
		t.Fatalf("the pod is Failed, but its status has no container: %s %s\n%s", stack.Value(failed.Status.Reason), stack.Value(failed.Status.Message), tn.QEMULog(pod.ID))
	}
	if m := stack.Value(failed.Status.Message); !strings.Contains(m, "no-such-program") || !strings.Contains(m, "not found") {
		t.Errorf("the message is %q; it should name the command and say that it was not found", m)
	}
	if c := failed.Status.Containers[0]; c.ExitCode == nil || *c.ExitCode != 127 {
		t.Errorf("the exit code should be 127: %+v", c)
	}
	for _, flags := range [][]string{{"--rm", "-q"}, {"-q", "-i"}} {
		args := append(append([]string{"run", "-m", "128Mi"}, flags...), busybox, "no-such-program")
		if got := tn.Run(t, nil, args...); got.Code != 127 || !strings.Contains(got.Errs, `exec: "no-such-program": not found in PATH`) {
			t.Errorf("husk run %v: %+v", flags, got)
		}
	}
}

// A deleted pod's container gets SIGTERM and its grace period. The volume keeps the data that the
// container writes during that time.
func TestDeletionGivesContainersTheirGracePeriod(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	mount := func(s *openapi.PodSpec, script string) {
		s.Volumes = &[]openapi.PodVolume{data}
		c := stack.Shell(busybox, script)
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
		s.TerminationGracePeriodSeconds = new(20)
	}
	first := tn.Create(t, "first", func(s *openapi.PodSpec) {
		mount(s, `trap 'echo "said goodbye" > /data/last; exit 0' TERM; echo ready; while :; do sleep 0.1; done`)
	})
	tn.Wait(t, first.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, first.ID, "", "ready")
	tn.DeletePod(t, first.ID)
	second := tn.Create(t, "second", func(s *openapi.PodSpec) { mount(s, "trap exit TERM; cat /data/last; while :; do sleep 0.1; done") })
	tn.Wait(t, second.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, second.ID, "", "said goodbye")
}

// A pod is stopped and started, and keeps its address and its volume. A signal reaches its container.
func TestAPodIsStoppedAndStartedAgain(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	created := tn.Create(t, "web", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		main := stack.Shell(busybox, `cat /data/x; echo "kept" > /data/x; sync; trap 'echo got HUP' HUP; echo ready; while :; do sleep 0.2; done`)
		main.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{main}
	})
	first := tn.Wait(t, created.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, first.ID, "main", "ready")
	if err := tn.API.Pods.Kill(t.Context(), first.ID, "", "HUP"); err != nil {
		t.Error(err)
	}
	tn.WaitForLog(t, first.ID, "main", "got HUP")
	if err := tn.API.Pods.Kill(t.Context(), first.ID, "none", "HUP"); err == nil {
		t.Error("a container that does not exist gets a signal")
	}
	if _, err := tn.API.Pods.Stop(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	tn.Wait(t, first.ID, openapi.PodPhaseStopped)
	if list := tn.Virsh("list", "--all", "--uuid"); strings.Contains(list, first.ID.String()) {
		t.Error("the virtual machine of the stopped pod still exists")
	}
	if _, err := tn.API.Pods.Start(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	again := tn.Wait(t, first.ID, openapi.PodPhaseRunning)
	if *again.Status.Address != *first.Status.Address {
		t.Errorf("the address was %s and is %s", *first.Status.Address, *again.Status.Address)
	}
	tn.WaitForLog(t, first.ID, "main", "kept")
	// SIGKILL ends the container, and its restart policy starts it again.
	if err := tn.API.Pods.Kill(t.Context(), first.ID, "", ""); err != nil {
		t.Error(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		pod, err := tn.API.Pods.Get(t.Context(), first.ID)
		if err == nil && (len(pod.Status.Containers) != 1 || pod.Status.Containers[0].Restarts == 0) {
			err = errors.New("the container was not restarted")
		}
		return err
	})
}
