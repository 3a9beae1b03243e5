// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"archive/tar"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// heap returns how many bytes the live objects occupy.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below 2^63
}

// Images with such entries have a few kilobytes. Importing them used to take gigabytes of memory.
func TestTheTreeKeepsItsBudget(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	xattr := func(i int) map[string]string {
		return map[string]string{"SCHILY.xattr.user.a": strings.Repeat(fmt.Sprint(i%10), 1<<16)}
	}
	for name, entry := range map[string]func(i int) *tar.Header{
		"implied directories": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%d/%sx", i, strings.Repeat("d/", 1000))}
		},
		"directories": func(i int) *tar.Header { return &tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%d/", i)} },
		"files":       func(i int) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i)} },
		"long names": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s%d", strings.Repeat(strings.Repeat("n", 200)+"/", 19), i)}
		},
		"long links": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("l%d", i), Linkname: strings.Repeat("x/", 2000)}
		},
		"attributes": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("a%d", i), PAXRecords: xattr(i)}
		},
		"short attributes": func(i int) *tar.Header {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("a%d", i), PAXRecords: map[string]string{}}
			for j := range 200 {
				h.PAXRecords[fmt.Sprintf("SCHILY.xattr.user.%d", j)] = "x"
			}
			return h
		},
		// Short names in the archive, long ones in the result.
		"names through a link": func(i int) *tar.Header {
			if i == 0 {
				return &tar.Header{Typeflag: tar.TypeDir, Name: strings.Repeat("d/", 2000)}
			}
			if i == 1 {
				return &tar.Header{Typeflag: tar.TypeSymlink, Name: "s", Linkname: strings.Repeat("d/", 2000)}
			}
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("s/%d", i)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 32 << 20
			budget := Limits{Bytes: 1 << 40, Entries: 20_000_000, Metadata: limit}
			before := heap()
			tr := newTree(&budget)
			var err error
			for i := 0; err == nil && i < 5000; i++ {
				err = tr.apply(i, strip(entry(i)))
			}
			used := heap() - before
			var dirs []*tar.Header
			var files map[[2]int]*file
			if err == nil {
				dirs, files, err = tr.survivors()
				used = heap() - before
			}
			if err != nil && !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
			if spent := limit - budget.Metadata; used > spent+1<<20 {
				t.Errorf("%d bytes of memory are charged as %d", used, spent)
			}
			runtime.KeepAlive(tr)
			runtime.KeepAlive(dirs)
			runtime.KeepAlive(files)
		})
	}
}

// An archive of a few megabytes can name millions of files in a deep directory.
func TestFollowingPathsIsBounded(t *testing.T) {
	t.Parallel()
	budget := DefaultLimits
	tr := newTree(&budget)
	tr.steps = maxSteps - 10_000
	deep := strings.Repeat("d/", 1000)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = tr.apply(i, &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(deep, i)})
	}
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// Only a response with the content of a layer may be long. A URL does not show which responses these are: a repository may be named blobs,
// and the registry chooses the URL of its token server.
func TestDocumentsAreBoundedWhateverTheirURL(t *testing.T) {
	t.Parallel()
	for name, realm := range map[string]string{
		"a manifest": "", "a token": "/v2/a/blobs/b/blobs/sha256:0/token", "a token at the URL of a blob": "/v2/a/blobs/b/blobs/sha256:" + strings.Repeat("0", 64),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			endless := func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				for range 64 << 10 {
					n, err := w.Write(make([]byte, 64<<10)) // 4 GiB in all
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}
			var web *httptest.Server
			web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case realm != "" && r.URL.Path != realm:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+web.URL+realm+`",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				case r.URL.Path == "/v2/":
				default:
					endless(w)
				}
			}))
			defer web.Close()
			_, err := Resolve(t.Context(), local, strings.TrimPrefix(web.URL, "http://")+"/a/blobs/b:latest", Auth{})
			if err == nil {
				t.Error("an endless document is accepted")
			}
			if got := sent.Load(); got > 64<<20 {
				t.Errorf("the registry sent %d bytes", got)
			}
		})
	}
}
