// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"

	"husk/egress"
)

// Each reason has its own text, with the host that was asked.
func TestAFailureSaysWhatHappenedAndWhere(t *testing.T) {
	t.Parallel()
	limited := func(after string) string {
		return hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
		})
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	closed := l.Addr().String()
	_ = l.Close()
	cut := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	})
	html := hostile(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>not a registry</html>") })
	for _, tt := range []struct {
		host string
		kind error
		want string // HOST stands for the host
	}{
		{limited("120"), ErrRateLimited, "the registry HOST limits requests (status 429) and accepts more in 2m0s"},
		{limited(""), ErrRateLimited, "the registry HOST limits requests (status 429)"},
		{responding(t, http.StatusBadGateway), ErrOverloaded, "the registry HOST responds with status 502 Bad Gateway"},
		{responding(t, http.StatusTeapot), ErrOverloaded, "the registry HOST responds with status 418 I'm a teapot"},
		{cut, ErrCutOff, "the registry HOST cut the connection"},
		{closed, ErrUnreachable, "the registry HOST refuses connections"},
		{html, ErrBadImage, "the image is damaged or not a valid OCI image: "},
		{"registry.invalid", ErrUnknownHost, `the name "HOST" of the registry does not resolve to an address that this platform connects to`},
		{responding(t, http.StatusNotFound), ErrNotFound, "the registry HOST has no such image"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			_, err := Resolve(t.Context(), local, tt.host+"/x:1", Auth{})
			failure, ok := errors.AsType[*ImageError](err)
			if !ok || !errors.Is(err, tt.kind) {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if want := strings.ReplaceAll(tt.want, "HOST", tt.host); !strings.HasPrefix(failure.Detail(), want) || strings.HasSuffix(want, "t") && failure.Detail() != want {
				t.Errorf("got  %s\nwant %s\n(%v)", failure.Detail(), want, err)
			}
		})
	}
}

func TestAConnectionThatIsCutDuringALayerIsReported(t *testing.T) {
	t.Parallel()
	r, err := Resolve(t.Context(), local, push(t, image(t, layer(t, "a = "+strings.Repeat("x", 1000)))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	host := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte("x"))
	})
	forged := *r
	forged.repo = must(name.NewRepository(host + "/x"))
	if err := forged.Flatten(t.Context(), spool(t), to(io.Discard)); !errors.Is(err, ErrCutOff) {
		t.Errorf("got %v", err)
	}
}

func TestAFailureNamesTheHostToWhichTheRegistryRefers(t *testing.T) {
	t.Parallel()
	r, err := Resolve(t.Context(), local, push(t, image(t, layer(t, "a = 1"))), Auth{})
	if err != nil {
		t.Fatal(err)
	}
	broken := responding(t, http.StatusServiceUnavailable)
	host := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, "http://"+broken+r.URL.Path, http.StatusTemporaryRedirect)
		}
	})
	forged := *r
	forged.repo = must(name.NewRepository(host + "/x"))
	failure, ok := errors.AsType[*ImageError](forged.Flatten(t.Context(), spool(t), to(io.Discard)))
	if want := `the host "` + broken + `", to which the registry ` + host + " refers, responds with status 503 Service Unavailable"; !ok || failure.Detail() != want {
		t.Errorf("got %v, want %s", failure, want)
	}
}

func TestANameOfAForbiddenAddressLooksLikeAnUnknownName(t *testing.T) {
	t.Parallel()
	ref := must(name.ParseReference("registry.example.com/x"))
	text := func(err error) string {
		c := newClient(local, ref.Context(), Auth{})
		defer c.close()
		failure, ok := errors.AsType[*ImageError](c.fail(ref.Name(), err))
		if !ok || !errors.Is(failure, ErrUnknownHost) {
			t.Fatalf("got %v", failure)
		}
		return failure.Detail()
	}
	inside := text(&egress.RefusedError{Host: "registry.example.com", Addr: netip.MustParseAddr("10.0.0.5"), Why: "private"})
	if outside := text(&net.DNSError{Err: "no such host", Name: "registry.example.com", IsNotFound: true}); inside != outside || strings.Contains(inside, "10.0.0.5") {
		t.Errorf("the text for a forbidden address is %q, and for an unknown name %q", inside, outside)
	}
}

func TestRetryAfterIsReadAsSecondsOrTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "90": 90 * time.Second, "-5": 0, "soon": 0, "99999999999999999999": 0, "4294967295": 365 * 24 * time.Hour,
		"Fri, 02 Jan 2026 03:06:05 GMT": 2 * time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestTextsOfImagesAreBounded(t *testing.T) {
	t.Parallel()
	if got := shown("a\x00\x1b[31m\xff" + strings.Repeat("é", 1000)); len([]rune(got)) != 201 || strings.ContainsAny(got, "\x00\x1b") || !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
}
