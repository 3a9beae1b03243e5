// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"husk/server/request"

	"husk"
)

// dashboardPath is the path of the dashboard.
const dashboardPath = "/ui/"

// dashboardPolicy allows the page to load from and connect to its own origin only, and forbids turning text into code (CSP 3, Trusted Types).
const dashboardPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var errNoDashboard = husk.Errorf(husk.CodeNotFound, "", "this server was built without its dashboard; build it with make build")

// file is one file of the dashboard, ready to be sent.
type file struct {
	kind, tag     string
	plain, packed []byte // packed is nil if compression does not help
}

// dashboard is the built dashboard, by file name; its index.html is the page.
type dashboard map[string]*file

func newDashboard(from fs.FS) (dashboard, error) {
	d := dashboard{}
	err := fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		plain, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		d[name], err = newFile(name, plain)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	return d, nil
}

// serve serves the dashboard next to the API. Every path under dashboardPath that is not a file returns the page, which routes by itself.
func (d dashboard) serve(problems problems, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ours := strings.CutPrefix(r.URL.Path, dashboardPath)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads && (r.URL.Path == "/" || r.URL.Path+"/" == dashboardPath) {
			http.Redirect(w, r, dashboardPath, http.StatusFound)
			return
		}
		if !ours || !reads {
			api.ServeHTTP(w, r)
			return
		}
		request.Of(r.Context()).Operation = "dashboard" // its name in the metrics
		hashed := strings.HasPrefix(name, "assets/")
		f := d[name]
		if f == nil && !hashed { // an asset of another version gets 404: a browser would take the page for the script
			f = d["index.html"]
		}
		switch {
		case f != nil:
			f.serve(w, r, hashed)
		case hashed:
			problems.write(w, r, errNoRoute)
		default:
			problems.write(w, r, errNoDashboard)
		}
	})
}

func newFile(name string, plain []byte) (*file, error) {
	sum := sha256.Sum256(plain)
	f := &file{kind: mime.TypeByExtension(path.Ext(name)), plain: plain, tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	if path.Ext(name) == ".js" { // the system's own table may be outdated
		f.kind = "text/javascript; charset=utf-8"
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if packed.Len() < len(plain)*9/10 {
		f.packed = packed.Bytes()
	}
	return f, nil
}

// serve sends the file. Browsers cache files with a hash in their name forever, and revalidate all others each time.
func (f *file) serve(w http.ResponseWriter, r *http.Request, hashed bool) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", dashboardPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-cache")
	if hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := f.plain
	tag := f.tag
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if request.AcceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			body, tag = f.packed, strings.TrimSuffix(tag, `"`)+`-gzip"`
		}
	}
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) //nolint:errcheck // the client has disconnected
	}
}
