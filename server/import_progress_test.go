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
	"strconv"
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
	"husk/server/watch"
	"husk/store"
)

// limitedProxy is a proxy for the real registry. It passes on only as many bytes of layers as the
// test has allowed.
type limitedProxy struct {
	host    string
	allowed chan struct{} // one value for each chunk
	passed  atomic.Int64  // bytes
}

const chunk = 16 << 10

func newLimitedProxy(t *testing.T) *limitedProxy {
	t.Helper()
	n := &limitedProxy{allowed: make(chan struct{}, 1000)}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: devtest.Registry(t)})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > chunk { // not the config
			r.Body = &limitedBody{ReadCloser: r.Body, ctx: r.Request.Context(), of: n}
		}
		return nil
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	n.host = strings.TrimPrefix(s.URL, "http://")
	return n
}

func (n *limitedProxy) allow(bytes int64) {
	for range bytes / chunk {
		n.allowed <- struct{}{}
	}
}

type limitedBody struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // the context of the request
	of   *limitedProxy
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
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

// pushedLarge returns a reference, through the proxy, to an image with two layers of 512 KiB each.
func pushedLarge(t *testing.T, n *limitedProxy) string {
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

//nolint:paralleltest // for the same reason as the test below
func TestAnImportContinuesIfItsProgressCannotBeStored(t *testing.T) {
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
		t.Errorf("the log lines about the image are %q", lines)
	}
}

// Not in parallel, because another test's collector would delete the incomplete import.
//
//nolint:paralleltest // see above
func TestAnImportShowsItsProgress(t *testing.T) {
	s := withCeph(t)
	registry := newLimitedProxy(t)
	first, second := s.tenant(), s.tenant()
	reference := pushedLarge(t, registry)
	importImage := func(c tenancy, reference string) openapi.Image {
		t.Helper()
		return as[openapi.Image](t, s.call("POST", "/v1/images", c.token, map[string]any{"reference": reference}), 201)
	}
	image := importImage(first, reference)
	// The same digest, from a registry that is not limited.
	others := importImage(second, strings.Replace(reference, registry.host, devtest.Registry(t), 1))
	get := func(c tenancy, i openapi.Image) openapi.Image {
		t.Helper()
		return as[openapi.Image](t, s.call("GET", "/v1/images/"+i.ID.String(), c.token, nil), 200)
	}
	if image.Progress != nil || get(first, image).Progress != nil {
		t.Error("an import that has not begun shows progress")
	}
	lines := s.stream("/v1/images?watch=true", first.token)
	if !readUntil(lines, "synced") {
		t.Fatal("the watch ends before it sends synced")
	}
	pass := func(ctx context.Context, epoch int64) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- s.loops.Passes()["images"](ctx, epoch) }()
		return ended
	}
	// waitFor waits until the API shows that at least this many bytes were fetched.
	var total, last int64
	waitFor := func(least int64) {
		t.Helper()
		deadline := time.After(patience)
		for {
			now := get(first, image)
			if p := now.Progress; p != nil && p.FetchedBytes >= least {
				if now.State != openapi.ImageStateImporting || p.FetchedBytes < last || p.FetchedBytes > registry.passed.Load() || p.FetchedBytes > p.TotalBytes {
					t.Fatalf("the last progress was %d bytes, the proxy has passed on %d, but the progress is %+v", last, registry.passed.Load(), *p)
				}
				last, total = max(last, least), p.TotalBytes
				return
			}
			select {
			case <-deadline:
				t.Fatalf("the progress does not reach %d bytes; the image is %s, %+v", least, now.State, now.Progress)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := pass(ctx, 0)
	waitFor(0)
	if total < 1<<20 || total > 1<<20+8<<10 {
		t.Errorf("the total is %d bytes", total)
	}
	for deadline := time.After(patience); get(second, others).State != openapi.ImageStateReady; {
		select {
		case <-deadline:
			t.Fatal("a slow registry of one tenant delays the import of another tenant")
		case <-time.After(20 * time.Millisecond):
		}
	}
	for quarter := range int64(2) {
		registry.allow(256 << 10)
		waitFor((quarter + 1) * 256 << 10)
	}
	timeout := time.After(watch.ReadEvery / 2) // before the first read without a hint, which would send the progress too
	for received := false; !received; {
		select {
		case line := <-lines:
			received = strings.Contains(line, `"progress":{"fetchedBytes":524288,`)
		case <-timeout:
			t.Fatal("the watch does not send the progress")
		}
	}

	// The server that runs the import stops, and another one starts the import again.
	cancel()
	<-ended
	s = s.another()
	if _, err := s.connect(store.RoleOwner).Exec(t.Context(), "UPDATE leadership SET epoch = 1"); err != nil {
		t.Fatal(err)
	}
	last = 0
	ended = pass(t.Context(), 1)
	deadline := time.After(patience)
	for {
		if p := get(first, image).Progress; p != nil && p.FetchedBytes == 0 {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the second attempt does not start at 0 bytes")
		case <-time.After(20 * time.Millisecond):
		}
	}
	before := registry.passed.Load()
	registry.allow(768 << 10)
	waitFor(700 << 10) // the rest of a layer's last chunk does not count
	registry.allow(512 << 10)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if fetched := registry.passed.Load() - before; fetched != total {
		t.Errorf("the server fetched %d bytes, want %d", fetched, total)
	}
	if now := get(first, image); now.State != openapi.ImageStateReady || now.Progress != nil {
		t.Errorf("the image is %+v", now)
	}
	var left int
	if err := s.connect(store.RoleControl).QueryRow(t.Context(), `SELECT count(*) FROM images WHERE fetched_bytes IS NOT NULL OR total_bytes IS NOT NULL`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d images still have progress after their import: %v", left, err)
	}
}

// A tenant that knows the manifest of another tenant's private image does not get its layers.
func TestAManifestAloneGivesNoAccess(t *testing.T) {
	t.Parallel()
	s := withCeph(t)
	victim, attacker := s.tenant(), s.tenant()
	reference := pushed(t)
	image := as[openapi.Image](t, s.call("POST", "/v1/images", victim.token, map[string]any{"reference": reference}), 201)
	if err := s.loops.Passes()["images"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if now := as[openapi.Image](t, s.call("GET", "/v1/images/"+image.ID.String(), victim.token, nil), 200); now.State != openapi.ImageStateReady {
		t.Fatalf("the image is %+v", now)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	// The attacker's registry has the manifest and the config, but no layers. It claims to have them.
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: devtest.Registry(t)})
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, layer := range manifest.Layers {
			if strings.HasSuffix(r.URL.Path, "/blobs/"+layer.Digest.String()) {
				w.Header().Set("Content-Length", strconv.FormatInt(layer.Size, 10))
				if r.Method == http.MethodGet {
					_, _ = w.Write(make([]byte, layer.Size))
				}
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(evil.Close)
	_, repository, _ := strings.Cut(reference, "/")
	stolen := as[openapi.Image](t, s.call("POST", "/v1/images", attacker.token, map[string]any{"reference": strings.TrimPrefix(evil.URL, "http://") + "/" + repository}), 201)
	if stolen.Digest != image.Digest {
		t.Fatalf("the attacker's image has the digest %s, want %s", stolen.Digest, image.Digest)
	}
	if err := s.loops.Passes()["images"](t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if now := as[openapi.Image](t, s.call("GET", "/v1/images/"+stolen.ID.String(), attacker.token, nil), 200); now.State != openapi.ImageStateFailed {
		t.Errorf("the attacker's image is %+v", now)
	}
}
