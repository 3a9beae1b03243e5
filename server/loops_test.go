// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk"
	"husk/ceph"
	"husk/dev"
	"husk/dev/devtest"
	"husk/openapi"
	"husk/server/control"
)

// withCeph returns a fixture whose loops use a real Ceph. Its pools are shared with other tests of
// this binary. The collector deletes objects that are not in this fixture's database, so only one
// test runs it.
func withCeph(t *testing.T) fixture {
	t.Helper()
	s := open(t)
	stack := devtest.Ceph(t)
	cluster, err := ceph.Connect(t.Context(), ceph.Config{
		ConfFile: stack.CephConf(), User: dev.CephUser, Keyring: stack.CephKeyring(), ImagesPool: dev.ImagesPool, VolumesPool: dev.VolumesPool, WorkDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return s.configured(func(c *Config) { c.Cluster = cluster })
}

// pushed pushes a small image for this test to a real registry and returns its reference.
func pushed(t *testing.T) string {
	t.Helper()
	img, err := random.Image(1<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, config(t, img)); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(devtest.Registry(t) + "/" + named("image") + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

func config(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.OS, c.Architecture, c.Config = "linux", "amd64", v1.Config{Cmd: []string{"/run"}, Env: []string{"A=b"}}
	return c
}

// A request passes through all loops. The test runs each pass twice, because a pass may be repeated
// at any time.
func TestTheLoopsCreateRequestedObjectsAndRemoveOrphans(t *testing.T) {
	t.Parallel()
	s := withCeph(t)
	ctx := t.Context()
	passes := s.loops.Passes()
	pass := func(names ...string) {
		t.Helper()
		for _, name := range names {
			for range 2 {
				if err := passes[name](ctx, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c := s.tenant()
	_, agent := s.node()
	reference := pushed(t)
	image := as[openapi.Image](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": reference}), 201)
	volume := as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	body := c.body("web")
	spec := body["spec"].(map[string]any)
	spec["containers"].([]any)[0].(map[string]any)["image"] = reference
	spec["volumes"] = []any{map[string]any{"name": "disk", "volumeId": volume.ID}}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, body), 201)
	get := func() openapi.Pod {
		t.Helper()
		return as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200)
	}

	pass("schedule")
	if now := get(); now.Status.Phase != "Pending" || *now.Status.Reason != "Waiting" || !strings.Contains(*now.Status.Message, "volume data") {
		t.Errorf("before its volume is created the pod is %+v", now.Status)
	}
	pass("volumes", "schedule")
	if now := get(); now.Status.Phase != "Pending" || !strings.Contains(*now.Status.Message, reference) {
		t.Errorf("before its image is imported the pod is %+v", now.Status)
	}
	pass("images")
	ready := as[openapi.Image](t, s.call("GET", "/v1/images/"+image.ID.String(), c.token, nil), 200)
	if ready.State != "Ready" || ready.SizeBytes == nil || ready.ReadyAt == nil {
		t.Errorf("the image is %+v", ready)
	}
	if c := ready.Config; c == nil || c.SetsPrivileges == nil || !slices.Equal(openapi.Value(c.Cmd), []string{"/run"}) {
		t.Errorf("the configuration of the image is %+v", c)
	}
	pass("schedule", "keys")
	if now := get(); now.Status.Phase != "Starting" || now.Status.Timeline.PlacedAt == nil {
		t.Errorf("the pod is %+v", now.Status)
	}
	if keys, err := s.cfg.Cluster.ListKeys(ctx); err != nil || !slices.Contains(keys, husk.KeyHolder(pod.ID, 1)) {
		t.Errorf("the keys are %v: %v", keys, err)
	}
	desired := as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	if len(desired.Pods) != 1 || desired.Pods[0].Ceph.Key == "" || !slices.Equal(desired.Pods[0].Containers[0].Args, []string{"/run"}) {
		t.Errorf("the node's desired state is %+v", desired)
	}

	// The collector deletes orphans and keeps objects with an owner. It also keeps what the database has never known, until an operator approves the
	// removal.
	orphan, err := s.cfg.Cluster.CreateVolume(ctx, "vol-"+named("orphan"), 1<<30, "ext4")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.cfg.Cluster.CreateKey(ctx, "orphan", nil); err != nil {
		t.Fatal(err)
	}
	pass("collect")
	disks := func() []string {
		t.Helper()
		d, err := s.cfg.Cluster.ListDisks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	clone, rbd := husk.Image{ID: image.ID}.CloneName(), husk.Volume{ID: volume.ID}.RBDName()
	if d := disks(); !slices.Contains(d, orphan.Name) || !slices.Contains(d, clone) || !slices.Contains(d, rbd) {
		t.Errorf("after collecting the disks are %v", d)
	}
	operator := s.operator()
	unknown := func() map[string]openapi.UnknownObject {
		t.Helper()
		all := map[string]openapi.UnknownObject{}
		for _, o := range as[openapi.UnknownObjectList](t, s.call("GET", "/v1/admin/unknown-objects", operator, nil), 200).Items {
			all[o.Name] = o
		}
		return all
	}
	if o := unknown()[orphan.Name]; o.Kind != openapi.UnknownObjectKindVolume || o.Approved {
		t.Errorf("the unknown object is %+v", o)
	}
	wantProblem(t, s.call("DELETE", "/v1/admin/unknown-objects/"+rbd, operator, nil), http.StatusNotFound, husk.CodeNotFound, "")
	if r := s.call("DELETE", "/v1/admin/unknown-objects/"+orphan.Name, operator, nil); r.status != http.StatusNoContent {
		t.Errorf("the approval: %+v", r)
	}
	pass("collect") // within the hour
	if d := disks(); slices.Contains(d, orphan.Name) || !slices.Contains(d, rbd) {
		t.Errorf("after the approval the disks are %v", d)
	}
	if keys, err := s.cfg.Cluster.ListKeys(ctx); err != nil || slices.Contains(keys, "orphan") || !slices.Contains(keys, husk.KeyHolder(pod.ID, 1)) {
		t.Errorf("after collecting the keys are %v: %v", keys, err)
	}

	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	s.report(agent, pod.ID, 2, husk.EventGone)
	s.call("DELETE", "/v1/volumes/"+volume.ID.String(), c.token, nil)
	s.call("DELETE", "/v1/images/"+image.ID.String(), c.token, nil)
	pass("volume-removals", "image-removals", "key-removals", "import-removals") // without a comparison of everything
	if d := disks(); slices.Contains(d, clone) || slices.Contains(d, rbd) {
		t.Errorf("after the deletion the disks are %v", d)
	}
	if keys, err := s.cfg.Cluster.ListKeys(ctx); err != nil || slices.Contains(keys, husk.KeyHolder(pod.ID, 1)) {
		t.Errorf("after the deletion the keys are %v: %v", keys, err)
	}
	if stored, err := s.cfg.Cluster.ListDigests(ctx); err != nil || slices.Contains(stored, image.Digest) {
		t.Errorf("after the deletion the imports are %v: %v", stored, err)
	}
	// What is left of an object that the database has known is removed without asking.
	if _, err := s.cfg.Cluster.CreateVolume(ctx, rbd, 1<<30, "ext4"); err != nil {
		t.Fatal(err)
	}
	if err := s.loops.Passes()["collect"](ctx, 0); err != nil { // as the next leader does at once
		t.Fatal(err)
	}
	if d := disks(); slices.Contains(d, rbd) {
		t.Errorf("a volume whose row was deleted is left: %v", d)
	}
	if o, found := unknown()[orphan.Name]; found {
		t.Errorf("the removed object is still unknown: %+v", o)
	}
	for _, path := range []string{"/v1/volumes/" + volume.ID.String(), "/v1/images/" + image.ID.String()} {
		wantProblem(t, s.call("GET", path, c.token, nil), http.StatusNotFound, husk.CodeNotFound, "")
	}
}

func TestAPodThatDoesNotFitShowsTheReason(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	pod := s.createPod(c)
	if err := s.loops.Passes()["schedule"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	now := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200)
	if now.Status.Reason == nil || *now.Status.Reason != "NoNode" || now.Status.Message == nil {
		t.Errorf("the pod is %+v", now.Status)
	}
}

func TestANodeThatStaysSilentIsLost(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	terms := control.LeaseTerms{Heartbeat: time.Second, Lease: 2 * time.Second, Margin: 2 * time.Second, Brake: 1}
	pass := s.configured(func(c *Config) { c.Terms = terms }).loops.Passes()["nodes"]
	for end := time.Now().Add(terms.Lease + terms.Margin + terms.Heartbeat); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // the loop uses its own monotonic clock
		if err := pass(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := as[openapi.Node](t, s.call("GET", "/v1/admin/nodes/"+node.String(), s.operator(), nil), 200); n.State != "Lost" {
		t.Errorf("the node is %s", n.State)
	}
	if now := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200); now.Status.Phase != "Starting" || now.Status.UnknownSince == nil {
		t.Errorf("the pod is %s, and unknown since %v", now.Status.Phase, now.Status.UnknownSince)
	}
	if lease := as[openapi.Lease](t, agent.call("POST", "/v1/agent/heartbeat", "", heartbeatBody), 200); !lease.Resync {
		t.Error("the agent is not asked to report again")
	}
}

func TestAnImpossibleImportIsRefusedImmediately(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	private := devtest.PrivateRegistry(t) + "/any:1"
	login := func(registry, password string) map[string]any {
		return map[string]any{"config.json": fmt.Sprintf(`{"auths": {%q: {"username": %q, "password": %q}}}`, registry, devtest.RegistryUser, password)}
	}
	s.config(c, "Secret", "good", login(devtest.PrivateRegistry(t), devtest.RegistryPassword))
	s.config(c, "Secret", "wrong", login(devtest.PrivateRegistry(t), "hunter2"))
	s.config(c, "Secret", "other", login("registry.example.com", devtest.RegistryPassword))
	s.config(c, "Secret", "broken", map[string]any{".dockerconfigjson": "hunter2"})
	s.config(c, "Secret", "keys", map[string]any{"password": "hunter2"})
	s.config(s.tenant(), "Secret", "foreign", login(devtest.PrivateRegistry(t), devtest.RegistryPassword))
	secrets := func(names ...string) map[string]any {
		return map[string]any{"reference": private, "registrySecrets": names}
	}
	for name, w := range map[string]struct {
		body   map[string]any
		status int
		code   husk.Code
	}{
		"a missing secret":           {secrets("other", "none"), 404, husk.CodeNotFound},
		"a secret of another tenant": {secrets("other", "foreign"), 404, husk.CodeNotFound},
		"a secret without logins":    {secrets("other", "keys"), 422, husk.CodeInvalid},
		"a secret with another text": {secrets("other", "broken"), 422, husk.CodeInvalid},
	} {
		a := s.call("POST", "/v1/images", c.token, w.body)
		wantProblem(t, a, w.status, w.code, "registrySecrets[1]")
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s: the response has a value of the secret: %s", name, a.body)
		}
	}
	for name, w := range map[string]struct {
		body   map[string]any
		status int
		code   husk.Code
	}{
		"no reference":                   {map[string]any{"reference": "Not A Reference"}, 422, husk.CodeInvalid},
		"an unknown image":               {map[string]any{"reference": devtest.Registry(t) + "/none:1"}, 422, husk.CodeImageNotFound},
		"no credentials":                 {map[string]any{"reference": private}, 422, husk.CodeRegistryUnauthorized},
		"wrong credentials":              {map[string]any{"reference": private, "registryAuth": map[string]any{"username": "a", "password": "b"}}, 422, husk.CodeRegistryUnauthorized},
		"a login for another registry":   {secrets("other"), 422, husk.CodeRegistryUnauthorized},
		"a wrong login":                  {secrets("other", "wrong", "good"), 422, husk.CodeRegistryUnauthorized},
		"a good login, but no image":     {secrets("other", "good"), 422, husk.CodeImageNotFound},
		"no registry":                    {map[string]any{"reference": "127.0.0.1:1/none:1"}, 502, husk.CodeRegistryUnreachable},
		"good credentials, but no image": {map[string]any{"reference": private, "registryAuth": map[string]any{"username": devtest.RegistryUser, "password": devtest.RegistryPassword}}, 422, husk.CodeImageNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			s.t = t
			wantProblem(t, s.call("POST", "/v1/images", c.token, w.body), w.status, w.code, "reference")
		})
	}
	images := as[openapi.ImageList](t, s.call("GET", "/v1/images", c.token, nil), 200)
	if len(images.Items) != 1 || images.Items[0].ID != c.image.ID {
		t.Errorf("refused imports created %+v", images.Items)
	}
}

// An import that is in the database but no longer in Ceph is repeated. This happens if the
// collector runs at the same time as a request.
func TestAMissingImportIsRepeated(t *testing.T) {
	t.Parallel()
	s := withCeph(t)
	first, second := s.tenant(), s.tenant()
	reference := pushed(t)
	importImage := func(c tenancy) openapi.Image {
		t.Helper()
		return as[openapi.Image](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": reference}), 201)
	}
	image := importImage(first)
	if err := s.loops.Passes()["images"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.cfg.Cluster.RemoveDisk(t.Context(), ceph.Disk{Name: husk.Image{ID: image.ID}.CloneName()}); err != nil {
		t.Fatal(err)
	}
	if err := s.cfg.Cluster.RemoveImage(t.Context(), image.Digest); err != nil {
		t.Fatal(err)
	}
	repeated := importImage(second)
	if err := s.loops.Passes()["images"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if now := as[openapi.Image](t, s.call("GET", "/v1/images/"+repeated.ID.String(), second.token, nil), 200); now.State != "Ready" {
		t.Errorf("the image is %+v", now)
	}
}
