// SPDX-License-Identifier: Apache-2.0

// Command demo shows the main use of Husk on an installation that `huskd dev` has started. It calls
// the API as a tenant. It imports OCI images and creates a volume and a pod with two containers.
// The pod is behind a service, which has a name and a floating address. Then it shows that the pod
// runs, serves HTTP to this machine and writes to its volume in Ceph. The next runs show the same pod.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/images"
)

const (
	podName    = "web" // also of the service and the floating address
	volumeName = "web-data"
	timeLimit  = 2 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

// demo is one run of the command. It records the time that each step takes.
type demo struct {
	env   map[string]string
	api   *client.Client
	times []step
}

type step struct {
	what string
	took time.Duration
}

func run(ctx context.Context) error {
	env, err := readEnv("build/dev.env")
	if err != nil {
		return err
	}
	api, err := client.New(env["HUSK_API"], client.WithAPIKey(env["HUSK_CLIENT_ID"], env["HUSK_CLIENT_SECRET"]))
	if err != nil {
		return err
	}
	d := &demo{env: env, api: api}
	pod, err := d.find(ctx)
	if err != nil {
		return err
	}
	if pod == nil {
		if pod, err = d.create(ctx); err != nil {
			return err
		}
	}
	if pod, err = d.wait(ctx, pod.ID); err != nil {
		return err
	}
	var address string
	if err := d.step("give it a service and a floating address", func() (err error) { address, err = d.publish(ctx, *pod); return err }); err != nil {
		return err
	}
	return d.show(ctx, *pod, address)
}

// publish makes sure that there are a service for the pod and a floating address for the service, and returns the address.
func (d *demo) publish(ctx context.Context, pod openapi.Pod) (string, error) {
	if pod.Labels["app"] != podName { // an earlier version has created it
		if _, err := d.api.Pods.Update(ctx, pod.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"app": new(podName)}}); err != nil {
			return "", err
		}
	}
	service, err := d.api.Services.Find(ctx, podName)
	if client.IsNotFound(err) {
		service, err = d.api.Services.Create(ctx, openapi.ServiceCreate{Name: podName, Selector: "app=" + podName, Ports: &openapi.ServicePorts{{Port: 80}}})
	}
	if err != nil {
		return "", err
	}
	address, err := d.api.Addresses.Find(ctx, podName)
	if client.IsNotFound(err) {
		address, err = d.api.Addresses.Create(ctx, openapi.AddressCreate{Name: podName, Target: &openapi.AddressTarget{ServiceID: &service.ID}})
	}
	return address.Status.Address, err
}

// step runs one step and records how long it takes.
func (d *demo) step(what string, f func() error) error {
	fmt.Fprintf(os.Stderr, "%s …\n", what)
	began := time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	d.times = append(d.times, step{what, time.Since(began)})
	return nil
}

func readEnv(name string) (map[string]string, error) {
	f, err := os.Open(name) //nolint:gosec // ours
	if err != nil {
		return nil, fmt.Errorf("%w; run make up first, which writes this file", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	env := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		env[key] = strings.Trim(value, "'")
	}
	return env, lines.Err()
}

func (d *demo) find(ctx context.Context) (*openapi.Pod, error) {
	pod, err := d.api.Pods.Find(ctx, podName)
	if client.IsNotFound(err) {
		return nil, nil //nolint:nilnil // none yet
	}
	return &pod, err
}

func (d *demo) create(ctx context.Context) (*openapi.Pod, error) {
	refs := map[string]string{}
	if err := d.step("build images from Debian packages and push them", func() error {
		cache, err := images.CacheDir()
		if err != nil {
			return err
		}
		built, err := images.Build(ctx, cache, "nginx", "busybox")
		if err != nil {
			return err
		}
		refs, err = images.Push(ctx, d.env["HUSK_REGISTRY"], built)
		return err
	}); err != nil {
		return nil, err
	}
	var volume uuid.UUID
	if err := d.step("import the images into Ceph", func() error { return d.importImages(ctx, refs) }); err != nil {
		return nil, err
	}
	if err := d.step("create a volume", func() (err error) { volume, err = d.volume(ctx); return err }); err != nil {
		return nil, err
	}
	var pod *openapi.Pod
	err := d.step("create the pod", func() error {
		created, err := d.api.Pods.Create(ctx, demoPod(refs, volume))
		pod = &created
		return err
	})
	return pod, err
}

// demoPod is nginx, which serves what the other container writes to the volume.
func demoPod(refs map[string]string, volume uuid.UUID) openapi.PodCreate {
	write := `echo "written at $(date -u +%FT%TZ) by pod $(hostname), to a volume in Ceph" >> /data/index.html; sync; tail -n 3 /data/index.html; exec sleep 1000000`
	readOnly := true
	return openapi.PodCreate{Name: podName, Labels: &openapi.Labels{"app": podName}, Spec: openapi.PodSpec{
		Resources: openapi.Resources{CPUMillis: 1000, MemoryMiB: 256},
		Volumes:   &[]openapi.PodVolume{{Name: "data", VolumeID: &volume}},
		Containers: []openapi.Container{
			{
				Name: "writer", Image: refs["busybox"], Command: &[]string{"sh", "-c", write},
				VolumeMounts: &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}},
			},
			{
				Name: "nginx", Image: refs["nginx"],
				VolumeMounts: &[]openapi.VolumeMount{{Volume: "data", MountPath: "/usr/share/nginx/html", ReadOnly: &readOnly}},
			},
		},
	}}
}

func (d *demo) importImages(ctx context.Context, refs map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for _, ref := range refs {
		image, err := d.api.Images.Import(ctx, openapi.ImageImport{Reference: ref})
		if err != nil {
			return err
		}
		if _, err := d.api.Images.WaitReady(ctx, image.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) volume(ctx context.Context) (uuid.UUID, error) {
	volume, err := d.api.Volumes.Find(ctx, volumeName)
	if client.IsNotFound(err) {
		volume, err = d.api.Volumes.Create(ctx, openapi.VolumeCreate{Name: volumeName, SizeGiB: 1})
	}
	return volume.ID, err
}

func (d *demo) wait(ctx context.Context, id uuid.UUID) (pod *openapi.Pod, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	err = d.step("wait until the pod runs", func() error {
		running, err := d.api.Pods.Wait(ctx, id, func(p openapi.Pod) (bool, error) {
			if p.Status.Phase == openapi.PodPhaseFailed {
				return false, fmt.Errorf("%s %s", p.Status.Phase, deref(p.Status.Message))
			}
			return p.Status.Phase == openapi.PodPhaseRunning, nil
		})
		pod = &running
		return err
	})
	return pod, err
}

func (d *demo) show(ctx context.Context, pod openapi.Pod, address string) error {
	var reply, log, watcher string
	if err := d.step("fetch its page at the floating address", func() error {
		return poll(ctx, "http://"+address+"/", func() (done bool, state string, err error) {
			reply, err = fetch(ctx, address)
			return err == nil, fmt.Sprint(err), nil
		})
	}); err != nil {
		return err
	}
	if err := d.step("read its log", func() error {
		for line, err := range d.api.Pods.Logs(ctx, pod.ID, client.LogOptions{Container: "nginx", Tail: new(5)}) {
			if err != nil {
				return err
			}
			log += line.Text()
		}
		return nil
	}); err != nil {
		return err
	}
	image := "husk-volumes/vol-" + (*pod.Spec.Volumes)[0].VolumeID.String()
	if err := d.step("ask Ceph who has the volume open", func() error {
		out, err := exec.CommandContext(ctx, "rbd", "-c", d.env["HUSK_CEPH_CONF"], "status", image).CombinedOutput() //nolint:gosec // our own names
		watcher = strings.TrimSpace(string(out))
		return err
	}); err != nil {
		return fmt.Errorf("%w: %s", err, watcher)
	}
	fmt.Printf("\npod %s is %s on node %s, address %s\n", pod.Name, pod.Status.Phase, deref(pod.Status.NodeName), deref(pod.Status.Address))
	fmt.Printf("from this machine, outside of its network: curl http://%s/\n", address)
	fmt.Printf("\nits page\n%s\nits log (container nginx)\n%s\nits volume, rbd image %s\n%s\n\n",
		indent(reply), indent(log), image, indent(watcher))
	return d.table(pod)
}

// table prints how long each step took: the steps of this command, and then the steps in the pod's
// timeline.
func (d *demo) table(pod openapi.Pod) error {
	t := pod.Status.Timeline
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(took time.Duration, what string) { fmt.Fprintf(w, "%.2f s\t  %s\n", took.Seconds(), what) }
	for _, s := range d.times {
		line(s.took, s.what)
	}
	last := t.AcceptedAt
	for _, at := range []struct {
		when *time.Time
		what string
	}{
		{t.PlacedAt, "pod: accepted → placed"},
		{t.DomainStartingAt, "pod: → the agent prepares the machine"},
		{t.NetworkConnectedAt, "pod: → its network is connected"},
		{t.DomainStartedAt, "pod: → virtual machine is running"},
		{t.GuestReadyAt, "pod: → husk-init responds"},
		{t.RunningAt, "pod: → containers are running"},
	} {
		if at.when != nil && at.when.Sub(last) > timeLimit {
			last = *at.when // the pod was restarted later, for example after make down; do not count the time in between
		} else if at.when != nil {
			line(at.when.Sub(last), at.what)
			last = *at.when
		}
	}
	return w.Flush()
}

// fetch fetches the page at an address, from this machine.
func fetch(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// poll calls ask until it reports that it is done, or fails after a time limit.
func poll(ctx context.Context, what string, ask func() (done bool, state string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for {
		done, state, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %s", what, timeLimit, state)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
