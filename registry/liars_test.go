// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk/dev/devtest"
)

// An index can claim of thousands of variants that they are for linux/amd64.
func TestVariantsThatLieAreBounded(t *testing.T) {
	t.Parallel()
	arm := must(mutate.ConfigFile(image(t, layer(t, "a")), &v1.ConfigFile{OS: "linux", Architecture: "arm64"}))
	var adds []mutate.IndexAddendum
	for i := range 200 {
		variant := must(mutate.ConfigFile(arm, &v1.ConfigFile{OS: "linux", Architecture: "arm64", Author: strings.Repeat("x", i)}))
		adds = append(adds, mutate.IndexAddendum{Add: variant, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	}
	registry := devtest.Registry(t)
	if err := remote.WriteIndex(must(name.ParseReference(registry+"/liar:1")), mutate.AppendManifests(empty.Index, adds...)); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	defer counting.Close()
	_, err := Resolve(t.Context(), local, strings.TrimPrefix(counting.URL, "http://")+"/liar:1", Auth{})
	if !errors.Is(err, ErrNoPlatform) {
		t.Errorf("%v; want %v", err, ErrNoPlatform)
	}
	if n := requests.Load(); n > 2*maxFetched+5 {
		t.Errorf("%d requests for an index whose variants are not for linux/amd64", n)
	}
}
