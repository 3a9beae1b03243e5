// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/version"
)

// tenant returns a client for a new tenant.
func tenant(t *testing.T) *client.Client {
	t.Helper()
	made, err := installation.Tenant(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(installation.URL, client.WithAPIKey(made.ClientID.String(), made.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pod creates a pod and waits until it is running.
func pod(t *testing.T, c *client.Client, args ...string) uuid.UUID {
	t.Helper()
	created, err := c.Pods.Create(t.Context(), newPod("pod-"+uuid.NewString()[:8], args...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pods.Wait(t.Context(), created.ID, func(p openapi.Pod) (bool, error) { return p.Status.Phase == openapi.PodPhaseRunning, nil }); err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func TestWrongSecretIsALoginError(t *testing.T) {
	t.Parallel()
	c, err := client.New(installation.URL, client.WithAPIKey(uuid.NewString(), "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.WhoAmI(t.Context())
	refused, ok := errors.AsType[*client.LoginError](err)
	if !ok || refused.Code != "invalid_client" {
		t.Errorf("%#v", err)
	}
}

func TestRequestsSayTheVersionAndTheServerSaysItsOwn(t *testing.T) {
	t.Parallel()
	p, err := tenant(t).Platform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != version.Number() {
		t.Errorf("the server says %q; it was built from %s", p.Version, version.Number())
	}
	agent := make(chan string, 1)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent <- r.UserAgent()
		w.WriteHeader(http.StatusNotFound)
	}))
	defer api.Close()
	for want, options := range map[string][]client.Option{"husk-go/": nil, "robot/": {client.WithProgram("robot")}} {
		c, err := client.New(api.URL, options...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.LoginOptions(t.Context()); err == nil {
			t.Error("a server that knows nothing has login options")
		}
		if got := <-agent; got != version.UserAgent(strings.TrimSuffix(want, "/")) {
			t.Errorf("the user agent is %q", got)
		}
	}
}

func TestUnreachableAPIIsAnUnreachableError(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, err := client.New("http://"+l.Addr().String(), client.WithAPIKey("id", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WhoAmI(t.Context()); !client.IsUnreachable(err) {
		t.Errorf("%#v", err)
	}
}

func TestURLsThatAreNotAnAPIAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "husk.example.com", "ftp://husk.example.com", "https://me:secret@husk.example.com", "https://husk.example.com/?a=b"} {
		if _, err := client.New(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The API refuses a token with a role that its account no longer has. The client gets another one.
func TestRefusedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	owner := tenant(t)
	account, err := owner.ServiceAccounts.Create(t.Context(), openapi.ServiceAccountCreate{Name: "ci", Role: openapi.Developer})
	if err != nil {
		t.Fatal(err)
	}
	key, err := owner.ServiceAccounts.CreateKey(t.Context(), account.ID, openapi.APIKeyCreate{Name: "key"})
	if err != nil {
		t.Fatal(err)
	}
	ci, err := client.New(installation.URL, client.WithAPIKey(key.ClientID.String(), key.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	volume := openapi.VolumeCreate{Name: "data", SizeGiB: 1}
	if _, err := ci.Volumes.Create(t.Context(), volume); err != nil {
		t.Fatalf("as developer: %v", err)
	}
	if _, err := owner.ServiceAccounts.SetRole(t.Context(), account.ID, openapi.Viewer); err != nil {
		t.Fatal(err)
	}
	if _, err := ci.Volumes.Create(t.Context(), volume); !client.HasCode(err, husk.CodeForbidden) {
		t.Errorf("as viewer: %v", err)
	}
	if found, err := ci.Volumes.Find(t.Context(), "data"); err != nil || found.Name != "data" {
		t.Errorf("as viewer: %v", err)
	}
}

func TestFindDistinguishesSeveralFromNone(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	list := func(yield func(string, error) bool) {
		for range 2 {
			if !yield("a", nil) {
				return
			}
		}
	}
	_, err := client.FindIn(list, "thing", "a", func(s string) []string { return []string{s} })
	if several, ok := errors.AsType[*client.AmbiguousError](err); !ok || several.Count != 2 {
		t.Errorf("%v", err)
	}
	if _, err := c.ServiceAccounts.Find(t.Context(), "nobody"); !client.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

// A watch may combine changes that follow each other quickly: a volume may already be available when it is added.
func TestWatchYieldsChangesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []client.ChangeType
	deleting := false
	for change, err := range c.Volumes.Watch(ctx, client.WatchOptions{}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		if change.Type != client.Modified {
			got = append(got, change.Type)
		}
		switch {
		case change.Type == client.Synced:
			if _, err := c.Volumes.Create(ctx, openapi.VolumeCreate{Name: "data", SizeGiB: 1}); err != nil {
				t.Fatal(err)
			}
		case change.Type == client.Deleted:
			cancel()
		case change.Object.State == openapi.VolumeStateAvailable && !deleting:
			deleting = true
			if err := c.Volumes.Delete(ctx, change.Object.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]client.ChangeType{client.Synced, client.Added, client.Deleted}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWatchEndsWhenItsLoopIsLeft(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	for change, err := range c.Pods.Watch(t.Context(), client.WatchOptions{}) {
		if err != nil || change.Type != client.Synced {
			t.Errorf("%v, %v", change, err)
		}
		break
	}
}

func TestFollowedLogEndsWhenThePodIsDeleted(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	id := pod(t, c, "stay", "here")
	var lines []string
	for line, err := range c.Pods.Logs(t.Context(), id, client.LogOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Text())
		if err := c.Pods.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if len(lines) == 0 || lines[0] != "here\n" {
		t.Errorf("%q", lines)
	}
}
