// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"husk/dev/devtest"
	"husk/egress"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// local allows registries on loopback.
var local = egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// layer creates a layer from entries: "name" or "name = content" for a file, "name/" for a
// directory, "name -> target" for a symbolic link, "name => target" for a hard link, and "device
// name" for a block device.
func layer(t *testing.T, entries ...string) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}
		var content string
		if name, target, ok := strings.Cut(e, " -> "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, target
		} else if name, target, ok := strings.Cut(e, " => "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, target
		} else if name, text, ok := strings.Cut(e, " = "); ok {
			h.Name, h.Size, content = name, int64(len(text)), text
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, e, 0o755
		} else if name, ok := strings.CutPrefix(e, "device "); ok {
			h.Typeflag, h.Name = tar.TypeBlock, name
		} else {
			h.Name = e
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return opened(t, buf.Bytes())
}

func opened(t *testing.T, data []byte) v1.Layer {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func image(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: must(img.ConfigFile()).RootFS, Config: v1.Config{
		Entrypoint: []string{"/bin/x"}, User: "7", ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// push pushes an image to the test registry under the test's name.
func push(t *testing.T, img v1.Image) string {
	t.Helper()
	ref := devtest.Registry(t) + "/" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + ":latest"
	if err := remote.Write(must(name.ParseReference(ref)), img); err != nil {
		t.Fatal(err)
	}
	return ref
}

func flatten(t *testing.T, img v1.Image, limits Limits) ([]string, error) {
	t.Helper()
	r, err := Resolve(t.Context(), local, push(t, img), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	r.Limits = limits
	var buf bytes.Buffer
	if err := r.Flatten(t.Context(), spool(t), to(&buf)); err != nil {
		return nil, err
	}
	return listing(t, &buf), nil
}

// listing returns the entries of an archive, in the same form as for layer.
func listing(t *testing.T, r io.Reader) []string {
	t.Helper()
	var lines []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			lines = append(lines, h.Name+" -> "+h.Linkname)
		case tar.TypeLink:
			lines = append(lines, h.Name+" => "+h.Linkname)
		case tar.TypeReg:
			content := must(io.ReadAll(tr))
			if len(content) > 0 {
				lines = append(lines, h.Name+" = "+string(content))
			} else {
				lines = append(lines, h.Name)
			}
		default:
			lines = append(lines, h.Name)
		}
	}
}

func TestFlatten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		layers [][]string
		want   []string
		err    error
	}{
		{"upper layers win", [][]string{{"a = 1", "b = 1"}, {"a = 2"}}, []string{"b = 1", "a = 2"}, nil},
		{"a whiteout hides one name", [][]string{{"d/", "d/a", "d/b"}, {"d/.wh.a"}}, []string{"d/", "d/b"}, nil},
		{"a whiteout hides a directory", [][]string{{"d/", "d/a", "e"}, {".wh.d"}}, []string{"e"}, nil},
		{"a whiteout does not affect its own layer", [][]string{{"a = 1"}, {"a = 2", ".wh.a"}}, []string{"a = 2"}, nil},
		{"an opaque directory hides everything in lower layers", [][]string{{"d/", "d/a", "d/e/", "d/e/x"}, {"d/new", "d/.wh..wh..opq"}}, []string{"d/", "d/new"}, nil},
		{"a later layer may add a hidden name again", [][]string{{"a = 1"}, {".wh.a"}, {"a = 3"}}, []string{"a = 3"}, nil},
		{"a file replaces a directory", [][]string{{"d/", "d/a"}, {"d = file"}}, []string{"d = file"}, nil},
		{"a hard link follows its file", [][]string{{"z = 1"}, {"a => z"}}, []string{"a = 1", "z => a"}, nil},
		{"a hard link outlives its file", [][]string{{"a = 1"}, {"b => a", "c => a"}, {".wh.a"}}, []string{"b = 1", "c => b"}, nil},
		{"a hard link keeps the old content", [][]string{{"a = 1", "b => a"}, {"a = 2"}}, []string{"b = 1", "a = 2"}, nil},
		{"a link is followed inside the image", [][]string{{"usr/lib/", "lib -> usr/lib"}, {"lib/x = 1"}}, []string{"usr/", "usr/lib/", "lib -> usr/lib", "usr/lib/x = 1"}, nil},
		{"a link to the outside stays inside", [][]string{{"up -> ../../.."}, {"up/x = 1"}}, []string{"up -> ../../..", "x = 1"}, nil},
		{"names stay inside", [][]string{{"../../a = 1", "/b = 2", "./c = 3"}}, []string{"a = 1", "b = 2", "c = 3"}, nil},
		{"devices are left out", [][]string{{"a", "b"}, {"device a"}}, []string{"b"}, nil},
		{"weird names", [][]string{{"new\nline", "ü ", "-rf", `back\slash`}}, []string{"new\nline", "ü ", "-rf", `back\slash`}, nil},
		{"a cycle of links", [][]string{{"a -> b", "b -> a", "a/x"}}, nil, ErrBadImage},
		{"through a file", [][]string{{"a = 1", "a/x"}}, nil, ErrBadImage},
		{"a dangling hard link", [][]string{{"a => nothing"}}, nil, ErrBadImage},
		{"a hard link to a directory", [][]string{{"d/", "a => d"}}, nil, ErrBadImage},
		{"a hard link to a device", [][]string{{"device a", "b => a", "c"}}, []string{"c"}, nil},
		{"a hard link to a device of a lower layer", [][]string{{"device a"}, {"b => a", "c"}}, []string{"c"}, nil},
		{"a name of 255 bytes", [][]string{{strings.Repeat("x", 255)}}, []string{strings.Repeat("x", 255)}, nil},
		{"a name of 256 bytes", [][]string{{strings.Repeat("x", 256)}}, nil, ErrBadImage},
		{"a whiteout of a name of 255 bytes", [][]string{{strings.Repeat("x", 255), "a"}, {".wh." + strings.Repeat("x", 255)}}, []string{"a"}, nil},
		{"too long a name", [][]string{{strings.Repeat("x", 300)}}, nil, ErrBadImage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var layers []v1.Layer
			for _, l := range tt.layers {
				layers = append(layers, layer(t, l...))
			}
			got, err := flatten(t, image(t, layers...), DefaultLimits)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlattenKeepsModesOwnersAndAttributes(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	in := &tar.Header{
		Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755, Uid: 1234, Gid: 70000, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.user.x": "1", "SCHILY.xattr.security.capability": "\x01\x02", "SCHILY.xattr.trusted.overlay.opaque": "y"},
	}
	if err := errors.Join(tw.WriteHeader(in), tw.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), local, push(t, image(t, opened(t, buf.Bytes()))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Flatten(t.Context(), spool(t), to(&out)); err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(&out).Next()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"SCHILY.xattr.user.x": "1", "SCHILY.xattr.security.capability": "\x01\x02"}
	if h.Mode != 0o4755 || h.Uid != 1234 || h.Gid != 70000 || !cmp.Equal(want, h.PAXRecords) {
		t.Errorf("got %+v", h)
	}
	if !r.SetsPrivileges {
		t.Error("the image has a set-user-ID program")
	}
}

func TestAnImageSaysWhetherItHasProgramsThatSetPrivileges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header tar.Header
		want   bool
	}{
		"plain":           {tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, false},
		"sticky":          {tar.Header{Typeflag: tar.TypeReg, Mode: 0o1755}, false},
		"set-group-ID":    {tar.Header{Typeflag: tar.TypeReg, Mode: 0o2755}, true},
		"a symbolic link": {tar.Header{Typeflag: tar.TypeSymlink, Linkname: "x", Mode: 0o4777}, false},
		"a directory":     {tar.Header{Typeflag: tar.TypeDir, Mode: 0o2775}, false},
		"capabilities":    {tar.Header{Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			tw := tar.NewWriter(&buf)
			c.header.Name, c.header.Format = "it", tar.FormatPAX
			if err := errors.Join(tw.WriteHeader(&c.header), tw.Close()); err != nil {
				t.Fatal(err)
			}
			r, err := Resolve(t.Context(), local, push(t, image(t, opened(t, buf.Bytes()))), Auth{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Flatten(t.Context(), spool(t), to(io.Discard)); err != nil {
				t.Fatal(err)
			}
			if r.SetsPrivileges != c.want {
				t.Errorf("SetsPrivileges is %v", r.SetsPrivileges)
			}
		})
	}
}

// to makes Flatten write to w.
func to(w io.Writer) func(Root) (io.Writer, error) {
	return func(Root) (io.Writer, error) { return w, nil }
}

// spool returns a file for Flatten.
func spool(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFlattenIsBounded(t *testing.T) {
	t.Parallel()
	bomb := layer(t, "zeros = "+strings.Repeat("\x00", 1<<20))
	many := layer(t, strings.Split(strings.Repeat("x ", 1000), " ")[:1000]...)
	deep := layer(t, strings.Repeat("d/", 1000)+"x", strings.Repeat("e/", 1000)+"x")
	for name, tt := range map[string]struct {
		layer  v1.Layer
		limits Limits
	}{
		"bytes":               {bomb, Limits{Bytes: 1 << 19, Entries: 10, Metadata: 1 << 20}},
		"entries":             {many, Limits{Bytes: 1 << 30, Entries: 999, Metadata: 1 << 20}},
		"implied directories": {deep, Limits{Bytes: 1 << 30, Entries: 1999, Metadata: 1 << 30}},
		"metadata":            {deep, Limits{Bytes: 1 << 30, Entries: 10_000, Metadata: 1 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := flatten(t, image(t, tt.layer), tt.limits); !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestErrorsOfTheWriterAreNotErrorsOfTheImage(t *testing.T) {
	t.Parallel()
	r, err := Resolve(t.Context(), local, push(t, image(t, layer(t, "a = 1"))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := r.Flatten(t.Context(), spool(t), to(writerFunc(func([]byte) (int, error) { return 0, full }))); !errors.Is(err, full) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Flatten(ctx, spool(t), to(io.Discard)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFlattenReportsProgress(t *testing.T) {
	t.Parallel()
	noise := func(size int64) v1.Layer { return must(random.Layer(size, types.OCILayer)) }
	r, err := Resolve(t.Context(), local, push(t, image(t, noise(300<<10), noise(100<<10), noise(200<<10))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second call starts at zero again
		var reported []int64
		r.Fetched = func(bytes int64) { reported = append(reported, bytes) }
		if err := r.Flatten(t.Context(), spool(t), to(io.Discard)); err != nil {
			t.Fatal(err)
		}
		if len(reported) < 3 || reported[0] > 300<<10 || !slices.IsSorted(reported) || reported[len(reported)-1] != r.SizeBytes {
			t.Errorf("of %d bytes the progress is %v", r.SizeBytes, reported)
		}
	}
}

func TestALayerThatIsTooLongIsNotCountedBeyondItsSize(t *testing.T) {
	t.Parallel()
	img := image(t, layer(t, "a = content"))
	r, err := Resolve(t.Context(), local, push(t, img), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	long := make([]byte, r.SizeBytes+1<<20)
	host := hostile(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(long) })
	r.repo = must(name.NewRepository(host + "/x"))
	var most int64
	r.Fetched = func(bytes int64) { most = max(most, bytes) }
	if err := r.Flatten(t.Context(), spool(t), to(io.Discard)); !errors.Is(err, ErrBadImage) {
		t.Errorf("the error for a layer that is too long is %v", err)
	}
	if most != r.SizeBytes {
		t.Errorf("of %d bytes the progress is %d", r.SizeBytes, most)
	}
}

func TestResolveReadsTheConfig(t *testing.T) {
	t.Parallel()
	img := image(t, layer(t, "a"))
	r, err := Resolve(t.Context(), local, push(t, img), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Entrypoint: []string{"/bin/x"}, User: "7", ExposedPorts: []string{"443/tcp", "80/tcp"}}
	if diff := cmp.Diff(want, r.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if r.Digest != must(img.Digest()).String() || !strings.HasSuffix(r.Reference, "@"+r.Digest) {
		t.Errorf("digest %s, reference %s", r.Digest, r.Reference)
	}
}

func TestResolveReturnsTheKindOfError(t *testing.T) {
	t.Parallel()
	private := devtest.PrivateRegistry(t)
	owner := authn.FromConfig(authn.AuthConfig{Username: devtest.RegistryUser, Password: devtest.RegistryPassword})
	if err := remote.Write(must(name.ParseReference(private+"/secret")), image(t, layer(t, "a")), remote.WithAuth(owner)); err != nil {
		t.Fatal(err)
	}
	arm := must(mutate.ConfigFile(image(t, layer(t, "a")), &v1.ConfigFile{OS: "linux", Architecture: "arm64"}))
	armOnly := devtest.Registry(t) + "/arm"
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	for ref, err := range map[string]error{
		armOnly + ":image": remote.Write(must(name.ParseReference(armOnly+":image")), arm),
		armOnly + ":index": remote.WriteIndex(must(name.ParseReference(armOnly+":index")), index),
	} {
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	closed := l.Addr().String()
	_ = l.Close()

	for _, tt := range []struct {
		ref  string
		auth Auth
		want error
	}{
		{"NOT A REFERENCE", Auth{}, ErrBadReference},
		{devtest.Registry(t) + "/nothing", Auth{}, ErrNotFound},
		{private + "/secret", Auth{}, ErrUnauthorized},
		{private + "/secret", Auth{Username: devtest.RegistryUser, Password: "wrong"}, ErrUnauthorized},
		{private + "/secret", Auth{Username: devtest.RegistryUser, Password: devtest.RegistryPassword}, nil},
		{armOnly + ":image", Auth{}, ErrNoPlatform},
		{armOnly + ":index", Auth{}, ErrNoPlatform},
		{closed + "/x", Auth{}, ErrUnreachable},
		{"10.0.0.1/x", Auth{}, ErrForbidden},
		{responding(t, http.StatusTooManyRequests) + "/x", Auth{}, ErrRateLimited},
		{responding(t, http.StatusBadGateway) + "/x", Auth{}, ErrOverloaded},
	} {
		t.Run(fmt.Sprint(tt.ref, tt.want), func(t *testing.T) {
			t.Parallel()
			if _, err := Resolve(t.Context(), local, tt.ref, tt.auth); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// responding starts a registry that gives every request this status.
func responding(t *testing.T, status int) string {
	t.Helper()
	return hostile(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// hostile starts a registry with a test's handler and returns its address.
func hostile(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestAnEndlessManifestIsRefused(t *testing.T) {
	t.Parallel()
	host := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		for {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				return
			}
		}
	})
	if _, err := Resolve(t.Context(), local, host+"/x", Auth{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestALayerThatDiffersFromItsDigestIsRefused(t *testing.T) {
	t.Parallel()
	r, err := Resolve(t.Context(), local, push(t, image(t, layer(t, "a = 1"))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	for what, response := range map[string][]byte{
		"other": bytes.Repeat([]byte("x"), int(r.layers[0].Size)), "short": []byte("x"), "long": make([]byte, 1<<20),
	} {
		host := hostile(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(response) })
		forged := *r
		forged.repo = must(name.NewRepository(host + "/x"))
		if err := forged.Flatten(t.Context(), spool(t), to(io.Discard)); !errors.Is(err, ErrBadImage) {
			t.Errorf("%s content: %v", what, err)
		}
	}
}

func TestARegistryCannotRedirectToAForbiddenAddress(t *testing.T) {
	t.Parallel()
	inside := hostile(t, func(http.ResponseWriter, *http.Request) { t.Error("a forbidden service was reached") })
	_, port, _ := strings.Cut(inside, ":")
	for _, ref := range []string{inside + "/x", "[::ffff:127.0.0.1]:" + port + "/x", "10.0.0.5/x", "localhost:" + port + "/x"} {
		_, err := Resolve(t.Context(), egress.Policy{}, ref, Auth{})
		if !errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", ref, err)
		}
	}

	// An allowed registry redirects the request for a blob to a forbidden address.
	r, err := Resolve(t.Context(), local, push(t, image(t, layer(t, "a = 1"))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	forged := *r
	forged.repo = must(name.NewRepository(hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			// The library itself refuses loopback and RFC 1918 addresses, so the test uses another
			// forbidden address.
			http.Redirect(w, r, "http://198.18.0.1"+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}) + "/x"))
	err = forged.Flatten(t.Context(), spool(t), to(io.Discard))
	if refused, ok := errors.AsType[*egress.RefusedError](err); !ok || refused.Host != "198.18.0.1" || !errors.Is(err, ErrForbidden) {
		t.Errorf("redirected: %v", err)
	}
}

func FuzzTree(f *testing.F) {
	f.Add("a\x00b/c\x00.wh.a", byte(0))
	f.Fuzz(func(t *testing.T, names string, kinds byte) {
		budget := DefaultLimits
		tr := newTree(&budget)
		types := []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink}
		for i, n := range strings.Split(names, "\x00") {
			tr.layer = i / 3
			err := tr.apply(i, &tar.Header{Name: n, Linkname: strings.ToLower(n), Typeflag: types[(int(kinds)+i)%len(types)]})
			if err != nil && !errors.Is(err, ErrBadImage) {
				t.Fatal(err)
			}
		}
		dirs, files, err := tr.survivors()
		if err != nil {
			return
		}
		for _, f := range files {
			for _, n := range f.names {
				if n == "" || strings.HasPrefix(n, "/") || strings.Contains("/"+n+"/", "/../") {
					t.Errorf("file %q", n)
				}
			}
		}
		for _, d := range dirs {
			if strings.HasPrefix(d.Name, "/") || strings.Contains("/"+d.Name, "/../") {
				t.Errorf("directory %q", d.Name)
			}
		}
	})
}
