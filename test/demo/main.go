// Command demo does the main job on what `huskd dev` has started, over REST as a tenant does: it imports OCI images, makes a volume,
// orders a pod of two containers, and shows that it runs, serves HTTP and writes to its volume in Ceph. Called again it shows the same
// pod.
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
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"golang.org/x/oauth2/clientcredentials"

	"husk/openapi"
	"husk/test/images"
)

const (
	podName    = "web"
	volumeName = "web-data"
	patience   = 2 * time.Minute
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

// demo is one run, with the time that each step took.
type demo struct {
	env   map[string]string
	api   *openapi.ClientWithResponses
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
	oauth := clientcredentials.Config{ClientID: env["HUSK_CLIENT_ID"], ClientSecret: env["HUSK_CLIENT_SECRET"], TokenURL: env["HUSK_API"] + "/oauth2/token"}
	api, err := openapi.NewClientWithResponses(env["HUSK_API"], openapi.WithHTTPClient(oauth.Client(ctx)))
	if err != nil {
		return err
	}
	d := &demo{env: env, api: api}
	pod, err := d.find(ctx)
	if err != nil {
		return err
	}
	if pod == nil {
		if pod, err = d.order(ctx); err != nil {
			return err
		}
	}
	if pod, err = d.wait(ctx, pod.ID); err != nil {
		return err
	}
	return d.show(ctx, *pod)
}

// step runs one step and notes how long it took.
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
		return nil, fmt.Errorf("%w; make up starts what writes it", err)
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
	name := podName
	resp, err := d.api.ListPodsWithResponse(ctx, &openapi.ListPodsParams{Name: &name})
	if err != nil {
		return nil, err
	}
	if resp.JSON200 == nil {
		return nil, problem(resp.HTTPResponse, resp.Body)
	}
	if len(resp.JSON200.Items) == 0 {
		return nil, nil //nolint:nilnil // none yet
	}
	return &resp.JSON200.Items[0], nil
}

func (d *demo) order(ctx context.Context) (*openapi.Pod, error) {
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
	err := d.step("order the pod", func() error {
		resp, err := d.api.CreatePodWithResponse(ctx, nil, podOrder(refs, volume))
		if err != nil {
			return err
		}
		if resp.JSON201 == nil {
			return problem(resp.HTTPResponse, resp.Body)
		}
		pod = resp.JSON201
		return nil
	})
	return pod, err
}

// podOrder is nginx, serving what the other container writes to the volume.
func podOrder(refs map[string]string, volume uuid.UUID) openapi.PodCreate {
	write := `echo "written at $(date -u +%FT%TZ) by pod $(hostname), to a volume in Ceph" >> /data/index.html; sync; tail -n 3 /data/index.html; exec sleep 1000000`
	readOnly := true
	return openapi.PodCreate{Name: podName, Spec: openapi.PodSpec{
		Resources: openapi.Resources{CPUMillis: 1000, MemoryMiB: 256},
		Volumes:   &[]openapi.PodVolume{{Name: "data", VolumeID: volume}},
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
	for _, ref := range refs {
		resp, err := d.api.ImportImageWithResponse(ctx, nil, openapi.ImageImport{Reference: ref})
		if err != nil {
			return err
		}
		if resp.JSON201 == nil {
			return problem(resp.HTTPResponse, resp.Body)
		}
		if err := poll(ctx, "image "+ref, func() (bool, string, error) {
			got, err := d.api.GetImageWithResponse(ctx, resp.JSON201.ID)
			if err != nil || got.JSON200 == nil {
				return false, "", errors.Join(err, problem(got.HTTPResponse, got.Body))
			}
			if got.JSON200.State == openapi.ImageStateFailed {
				return false, "", errors.New(deref(got.JSON200.Message))
			}
			return got.JSON200.State == openapi.ImageStateReady, string(got.JSON200.State), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) volume(ctx context.Context) (uuid.UUID, error) {
	name := volumeName
	known, err := d.api.ListVolumesWithResponse(ctx, &openapi.ListVolumesParams{Name: &name})
	if err != nil {
		return uuid.Nil, err
	}
	if known.JSON200 != nil && len(known.JSON200.Items) > 0 {
		return known.JSON200.Items[0].ID, nil
	}
	resp, err := d.api.CreateVolumeWithResponse(ctx, nil, openapi.VolumeCreate{Name: volumeName, SizeGiB: 1})
	if err != nil {
		return uuid.Nil, err
	}
	if resp.JSON201 == nil {
		return uuid.Nil, problem(resp.HTTPResponse, resp.Body)
	}
	return resp.JSON201.ID, nil
}

func (d *demo) wait(ctx context.Context, id uuid.UUID) (pod *openapi.Pod, err error) {
	err = d.step("wait until the pod runs", func() error {
		return poll(ctx, "pod "+podName, func() (bool, string, error) {
			resp, err := d.api.GetPodWithResponse(ctx, id)
			if err != nil {
				return false, "", err
			}
			if resp.JSON200 == nil {
				return false, "", problem(resp.HTTPResponse, resp.Body)
			}
			pod = resp.JSON200
			state := string(pod.Status.Phase) + " " + deref(pod.Status.Message)
			if pod.Status.Phase == openapi.PodPhaseFailed {
				return false, "", errors.New(state)
			}
			return pod.Status.Phase == openapi.PodPhaseRunning, state, nil
		})
	})
	return pod, err
}

func (d *demo) show(ctx context.Context, pod openapi.Pod) error {
	var reply, log, watcher string
	if err := d.step("fetch its page through the network", func() error {
		return poll(ctx, "http://"+*pod.Status.Address, func() (done bool, state string, err error) {
			reply, err = fetch(ctx, "http://"+*pod.Status.Address+"/")
			return err == nil, fmt.Sprint(err), nil
		})
	}); err != nil {
		return err
	}
	if err := d.step("read its log", func() error {
		container := "nginx"
		tail := 5
		resp, err := d.api.GetPodLogsWithResponse(ctx, pod.ID, &openapi.GetPodLogsParams{Container: &container, Tail: &tail})
		if err != nil {
			return err
		}
		if resp.StatusCode() != http.StatusOK {
			return problem(resp.HTTPResponse, resp.Body)
		}
		log = string(resp.Body)
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
	fmt.Printf("\nits page, http://%s/\n%s\nits log (container nginx)\n%s\nits volume, rbd image %s\n%s\n\n",
		deref(pod.Status.Address), indent(reply), indent(log), image, indent(watcher))
	return d.table(pod)
}

// table prints how long each step took: those of this command, and those of the pod's own way.
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
		{t.DomainStartingAt, "pod: → the agent asks libvirt"},
		{t.DomainStartedAt, "pod: → its machine is on"},
		{t.GuestReadyAt, "pod: → husk-init answers"},
		{t.RunningAt, "pod: → its containers run"},
	} {
		if at.when != nil && at.when.Sub(last) > patience {
			last = *at.when // it was started again later, as after make down; the wait between is not its way
		} else if at.when != nil {
			line(at.when.Sub(last), at.what)
			last = *at.when
		}
	}
	return w.Flush()
}

func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
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

// poll asks until it is done, with patience.
func poll(ctx context.Context, what string, ask func() (done bool, state string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, state, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %s", what, patience, state)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func problem(resp *http.Response, body []byte) error {
	return fmt.Errorf("%s %s: %s: %s", resp.Request.Method, filepath.Base(resp.Request.URL.Path), resp.Status, body)
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
