// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"errors"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// document is a pod as its author writes it for Kubernetes.
const document = `
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  terminationGracePeriodSeconds: 20
  securityContext: {supplementalGroups: [4711]}
  initContainers:
    - name: migrate
      image: IMAGE
      command: [sh, -c, "test ! -e /data/log || rm /data/log; echo migrated >> /data/log"]
      volumeMounts: [{name: data, mountPath: /data}]
      resources: {limits: {cpu: 500m, memory: 64Mi}}
    - name: proxy
      image: IMAGE
      restartPolicy: Always
      command: [sh, -c, "echo proxy >> /data/log; mkdir -p /tmp/www; echo up > /tmp/www/health; exec httpd -f -p 8081 -h /tmp/www"]
      startupProbe: {httpGet: {port: admin, path: /health}, periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 10}
      ports: [{name: admin, containerPort: 8081}]
      volumeMounts: [{name: data, mountPath: /data}]
      resources: {limits: {cpu: 500m, memory: 64Mi}}
  containers:
    - name: web
      image: IMAGE
      command:
        - sh
        - -c
        - |
          echo web >> /data/log
          echo "groups=$(id -G) $(grep NoNewPrivs /proc/self/status | tr '\t' ' ') $(grep CapBnd /proc/self/status)"
          touch /new 2>/dev/null || echo "the root is read-only"
          trap 'echo goodbye; echo "on behalf of web" > /dev/termination-log; exit 0' TERM
          while :; do sleep 0.2; done
      readinessProbe: {exec: {command: [test, -e, /data/ready]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10}
      lifecycle: {preStop: {exec: {command: [sh, -c, "echo stopping >> /data/log"]}}}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
      volumeMounts: [{name: data, mountPath: /data}]
      resources: {limits: {cpu: 500m, memory: 64Mi}}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

// A pod uses every option at once. Kubernetes' documents describe it, and the API and the command show it.
func TestAPodWithInitContainersProbesAndHooks(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	tn.Volume(t, "data")
	if r := tn.Run(t, strings.NewReader(strings.ReplaceAll(document, "IMAGE", image)), "apply", "-f", "-"); r.Code != 0 {
		t.Fatalf("apply: %s", r.Errs)
	}
	pod, err := tn.API.Pods.Find(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	pod = tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	log := tn.WaitForLog(t, pod.ID, "web", "the root is read-only")
	if want := "groups=0 4711 NoNewPrivs: 1 CapBnd:\t0000000000000400"; !strings.Contains(log, want) {
		t.Errorf("the log does not contain %q:\n%s", want, log)
	}
	of := func(name string) openapi.ContainerStatus {
		for _, c := range pod.Status.Containers {
			if c.Name == name {
				return c
			}
		}
		return openapi.ContainerStatus{}
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		stack.Eventually(t, pace.Limit(time.Minute), func() error {
			if pod, err = tn.Get(t.Context(), pod.ID); err == nil && !ok() {
				return errors.New(what + ": " + stack.Value(of("web").Message))
			}
			return err
		})
	}
	eventually("web is not ready", func() bool { return of("web").Message != nil })
	if !openapi.Value(of("proxy").Ready) || openapi.Value(of("web").Ready) || openapi.Value(pod.Status.Ready) || of("migrate").State != openapi.ContainerStatusStateExited {
		t.Errorf("the pod is %+v", pod.Status)
	}
	if r := tn.Run(t, nil, "pods"); !strings.Contains(r.Out, "1/2") {
		t.Errorf("the list says:\n%s", r.Out)
	}
	if r := tn.Run(t, nil, "exec", "shop", "-c", "web", "--", "sh", "-c", "touch /data/ready; cat /data/log"); r.Out != "migrated\nproxy\nweb\n" {
		t.Errorf("the containers started as follows: %s%s", r.Out, r.Errs)
	}
	eventually("the pod is ready", func() bool { return openapi.Value(pod.Status.Ready) })
	if r := tn.Run(t, nil, "describe", "pod", "shop"); !strings.Contains(r.Out, "Sidecar proxy:") || !strings.Contains(r.Out, "GET http port 8081 /health") {
		t.Errorf("the description is:\n%s%s", r.Out, r.Errs)
	}
	tn.DeletePod(t, pod.ID)
}

// A pod that has ended stays as long as its spec says. Its deadline ends it.
func TestADeadlineEndsAPodAndThenItIsDeleted(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	pod := tn.Create(t, "late", func(s *openapi.PodSpec) {
		s.Containers = []openapi.Container{stack.Shell(image, "trap 'echo over > /dev/termination-log; exit 0' TERM; while :; do sleep 0.2; done")}
		s.ActiveDeadlineSeconds, s.TTLSecondsAfterFinished = new(20), new(5) // on a busy machine, a shell takes seconds until it handles a signal
	})
	ended := tn.Wait(t, pod.ID, openapi.PodPhaseFailed)
	main := ended.Status.Containers[0]
	if stack.Value(ended.Status.Reason) != "DeadlineExceeded" || stack.Value(main.Message) != "over\n" {
		t.Errorf("the pod is %s (%s), and its container ended with %d (%s): %q", stack.Value(ended.Status.Reason), stack.Value(ended.Status.Message),
			openapi.Value(main.ExitCode), stack.Value(main.Reason), stack.Value(main.Message))
	}
	stack.Eventually(t, pace.Limit(time.Minute), func() error {
		_, err := tn.Get(t.Context(), pod.ID)
		if client.IsNotFound(err) {
			return nil
		}
		return errors.Join(stack.ErrNotYet, err)
	})
}

// A container with an init process fails until it may not be restarted any more. The command follows it to its end.
func TestAContainerIsRestartedAtMostAsOftenAsItsSpecSays(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	r := tn.Run(t, nil, "run", "--name", "tries", "--init", "--restart", "on-failure:2", image, "sh", "-c", "echo first $(head -c 19 /proc/1/cmdline); exit 9")
	if want := strings.Repeat("first husk-container-init\n", 3); r.Code != 9 || r.Out != want {
		t.Errorf("exit code %d, output %q, want %q: %s", r.Code, r.Out, want, r.Errs)
	}
	pod, err := tn.API.Pods.Find(t.Context(), "tries")
	if err != nil {
		t.Fatal(err)
	}
	if c := pod.Status.Containers[0]; pod.Status.Phase != openapi.PodPhaseFailed || c.Restarts != 2 || openapi.Value(c.ExitCode) != 9 {
		t.Errorf("the pod is %+v", pod.Status)
	}
	if r := tn.Run(t, nil, "describe", "pod", "tries"); !strings.Contains(r.Out, "Init process:") || !strings.Contains(r.Out, "Maximum of restarts:") {
		t.Errorf("the description is:\n%s%s", r.Out, r.Errs)
	}
	tn.DeletePod(t, pod.ID)
}
