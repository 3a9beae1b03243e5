// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk/dev/devtest"
	"husk/openapi"
	"husk/store"
)

// narrow is a proxy in front of the real registry that passes on only as many bytes of layers as the test has allowed.
type narrow struct {
	host    string
	allowed chan struct{} // one for each chunk
	passed  atomic.Int64  // bytes
}

const chunk = 16 << 10

func newNarrow(t *testing.T) *narrow {
	t.Helper()
	n := &narrow{allowed: make(chan struct{}, 1000)}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: devtest.Registry(t)})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > chunk { // not the config
			r.Body = &narrowBody{ReadCloser: r.Body, ctx: r.Request.Context(), of: n}
		}
		return nil
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	n.host = strings.TrimPrefix(s.URL, "http://")
	return n
}

func (n *narrow) allow(bytes int64) {
	for range bytes / chunk {
		n.allowed <- struct{}{}
	}
}

type narrowBody struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // of the request that it answers
	of   *narrow
	left int
}

func (b *narrowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		select {
		case <-b.of.allowed:
			b.left = chunk
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	b.of.passed.Add(int64(n))
	return n, err
}

// pushedLarge returns a reference, through a narrow registry, to an image of two layers of half a mebibyte each.
func pushedLarge(t *testing.T, n *narrow) string {
	t.Helper()
	img, err := random.Image(512<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, config(t, img)); err != nil {
		t.Fatal(err)
	}
	repository := "/" + named("image") + ":1"
	ref, err := name.ParseReference(devtest.Registry(t) + repository)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n.host + repository
}

//nolint:paralleltest // as below
func TestProgressThatCannotBeWrittenDoesNotFailTheImport(t *testing.T) {
	s := withCeph(t)
	var log lockedBuffer
	s = s.logging(slog.NewTextHandler(&log, nil))
	for _, sql := range []string{
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$`,
		`CREATE TRIGGER refuse BEFORE UPDATE ON images FOR EACH ROW WHEN (NEW.fetched_bytes IS NOT NULL) EXECUTE FUNCTION refuse()`,
	} {
		if _, err := s.connect(store.RoleOwner).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c := s.tenant()
	image := as[openapi.Image](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": pushed(t)}), 201)
	if err := s.loops.Passes()["images"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if now := as[openapi.Image](t, s.call("GET", "/v1/images/"+image.ID.String(), c.token, nil), 200); now.State != openapi.ImageStateReady {
		t.Errorf("the image is %+v", now)
	}
	if lines := log.lines("digest=" + image.Digest + " "); len(lines) == 0 || !strings.Contains(lines[0], "the disk is full") {
		t.Errorf("the log says of it %q", lines)
	}
}

// Not in parallel: another test's collector would remove what is half imported.
//
//nolint:paralleltest // as it says
func TestAnImportShowsItsProgress(t *testing.T) {
	s := withCeph(t)
	registry := newNarrow(t)
	first, second := s.tenant(), s.tenant()
	reference := pushedLarge(t, registry)
	order := func(c tenancy) openapi.Image {
		t.Helper()
		return as[openapi.Image](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": reference}), 201)
	}
	image, others := order(first), order(second)
	look := func(c tenancy, i openapi.Image) openapi.Image {
		t.Helper()
		return as[openapi.Image](t, s.call("GET", "/v1/images/"+i.ID.String(), c.token, nil), 200)
	}
	if image.Progress != nil || look(first, image).Progress != nil {
		t.Error("there is progress before there is any")
	}
	lines := s.stream("/v1/images?watch=true", first.token)
	if !reads(lines, "synced") {
		t.Fatal("the watch ends before it has begun")
	}
	pass := func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- s.loops.Passes()["images"](ctx, 0) }()
		return ended
	}
	// reaches waits until the API says for both images that at least this many bytes were fetched.
	var total, last int64
	reaches := func(least int64) {
		t.Helper()
		deadline := time.After(patience)
		for _, who := range []struct {
			tenancy
			openapi.Image
		}{{first, image}, {second, others}} {
			for {
				now := look(who.tenancy, who.Image)
				if p := now.Progress; p != nil && p.FetchedBytes >= least {
					if now.State != openapi.ImageStateImporting || p.FetchedBytes < last || p.FetchedBytes > registry.passed.Load() || p.FetchedBytes > p.TotalBytes {
						t.Fatalf("after %d, when %d have passed, it is %+v", last, registry.passed.Load(), *p)
					}
					last, total = max(last, least), p.TotalBytes
					break
				}
				select {
				case <-deadline:
					t.Fatalf("no progress to %d bytes; it is %s, %+v", least, now.State, now.Progress)
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := pass(ctx)
	reaches(0)
	if total < 1<<20 || total > 1<<20+8<<10 {
		t.Errorf("the total is %d bytes", total)
	}
	for quarter := range int64(2) {
		registry.allow(256 << 10)
		reaches((quarter + 1) * 256 << 10)
	}
	soon := time.After(watchPing / 2) // a ping reads too, and would hide that nobody was hinted
	for told := false; !told; {
		select {
		case line := <-lines:
			told = strings.Contains(line, `"progress":{"fetchedBytes":524288,`)
		case <-soon:
			t.Fatal("the watch is not told what has come")
		}
	}

	// The server that imports it stops, and another begins again.
	cancel()
	<-ended
	s = s.another()
	last = 0
	ended = pass(t.Context())
	deadline := time.After(patience)
	for {
		if p := look(first, image).Progress; p != nil && p.FetchedBytes == 0 {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the second try does not begin anew")
		case <-time.After(20 * time.Millisecond):
		}
	}
	before := registry.passed.Load()
	registry.allow(768 << 10)
	reaches(700 << 10) // what is left of a layer's last chunk is lost
	registry.allow(512 << 10)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if came := registry.passed.Load() - before; came != total {
		t.Errorf("for two tenants %d bytes came of %d", came, total)
	}
	if now := look(first, image); now.State != openapi.ImageStateReady || now.Progress != nil {
		t.Errorf("the image is %+v", now)
	}
	if now := look(second, others); now.State != openapi.ImageStateReady || now.Progress != nil {
		t.Errorf("the other's image is %+v", now)
	}
	var left int
	if err := s.connect(store.RoleControl).QueryRow(t.Context(), `SELECT count(*) FROM images WHERE fetched_bytes IS NOT NULL OR total_bytes IS NOT NULL`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d images have progress that is over: %v", left, err)
	}
}
