// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk/guest"
)

// portOf returns the port of a server on loopback.
func portOf(t *testing.T, s *httptest.Server) int {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// check compares an error with a part of its text; "" is none.
func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error is %v; want %q", err, want)
	}
}

func TestHTTPStatusesDecide(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.test" || r.Header.Get("X-Probe") != "1" || r.URL.RawQuery != "deep=1" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeader)) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for path, want := range map[string]string{
		"ok?deep=1": "", "/away": "", "/bad": "HTTP status 503", "/long": "exceeded", "/slow": "no answer in time", "/endless": "",
	} {
		for scheme, server := range map[string]*httptest.Server{"": plain, "https": secure} {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			check(t, HTTP(ctx, "127.0.0.1", guest.HTTPGet{
				Port: portOf(t, server), Path: path, Scheme: scheme,
				Headers: []guest.HTTPHeader{{Name: "host", Value: "app.test"}, {Name: "X-Probe", Value: "1"}},
			}), want)
			cancel()
		}
	}
}

func TestGRPCAsksTheHealthService(t *testing.T) {
	t.Parallel()
	frame := func(message ...byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	}
	for name, tt := range map[string]struct {
		answer []byte
		status string
		want   string
	}{
		"serving":       {frame(8, 1), "0", ""},
		"not serving":   {frame(8, 2), "0", "not serving"},
		"unknown":       {frame(), "0", "not serving"},
		"no service":    {nil, "5", `gRPC status "5"`},
		"no status":     {frame(8, 1), "", `gRPC status ""`},
		"other message": {frame(18, 1, 1), "0", "not of gRPC's health service"},
		"cut":           {frame(8, 1)[:6], "0", "not of gRPC's health service"},
		"long":          {make([]byte, 1<<20), "0", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := make([]byte, 64)
				n, _ := r.Body.Read(body)
				if r.URL.Path != healthMethod || r.ProtoMajor != 2 || string(body[:n]) != "\x00\x00\x00\x00\x05\x0a\x03web" {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				w.Header().Set("Trailer", "Grpc-Status")
				_, _ = w.Write(tt.answer)
				if tt.status != "" {
					w.Header().Set("Grpc-Status", tt.status)
				}
			}))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			t.Cleanup(s.Close)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			check(t, GRPC(ctx, "127.0.0.1", guest.GRPCPort{Port: portOf(t, s), Service: "web"}), tt.want)
		})
	}
}
