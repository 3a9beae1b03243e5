// SPDX-License-Identifier: Apache-2.0

// Package represent has what HTTP says about responses of every operation: conditional requests, HEAD, links between the pages of a list,
// and the header that keeps browsers on HTTPS. It knows no operation.
package represent

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"husk/openapi"
)

// AsGet returns a request that is handled like a GET. The HTTP server leaves the body out of the response to a HEAD.
func AsGet(r *http.Request) *http.Request {
	if r.Method != http.MethodHead {
		return r
	}
	get := r.WithContext(r.Context())
	get.Method = http.MethodGet
	return get
}

// Conditional returns a writer that responds with 304 if the client already has the object (RFC 9110, 13.1.2).
func Conditional(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	known := r.Header.Get("If-None-Match")
	if known == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return w
	}
	return &conditional{ResponseWriter: w, known: known}
}

// conditional leaves out the body of a response whose ETag the client has.
type conditional struct {
	http.ResponseWriter
	known     string
	unchanged bool
}

// WriteHeader implements http.ResponseWriter.
func (c *conditional) WriteHeader(status int) {
	if status == http.StatusOK && Matches(c.known, c.Header().Get("ETag")) {
		c.unchanged, status = true, http.StatusNotModified
		c.Header().Del("Content-Type")
		c.Header().Del("Content-Length")
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *conditional) Write(p []byte) (int, error) {
	if c.unchanged {
		return len(p), nil
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *conditional) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Matches reports whether a list of entity tags has this one. The comparison is the weak one.
func Matches(list, tag string) bool {
	if tag == "" {
		return false
	}
	for t := range strings.SplitSeq(list, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// Links adds the header Link to a page of a list that is not the last one (RFC 8288).
func Links(next openapi.StrictHandlerFunc, _ string) openapi.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, in any) (any, error) {
		out, err := next(ctx, w, r, in)
		if cursor := nextCursor(out); err == nil && cursor != "" {
			q := r.URL.Query()
			q.Set("cursor", cursor)
			w.Header().Set("Link", "<"+(&url.URL{Path: r.URL.Path, RawQuery: q.Encode()}).String()+`>; rel="next"`)
		}
		return out, err
	}
}

// nextCursor returns the field that all lists have. Each has a type of its own, which is generated.
func nextCursor(response any) string {
	v := reflect.ValueOf(response)
	if v.Kind() != reflect.Struct {
		return ""
	}
	if f := v.FieldByName("NextCursor"); f.IsValid() {
		if cursor, ok := reflect.TypeAssert[*string](f); ok {
			return openapi.Value(cursor)
		}
	}
	return ""
}

// StayOnHTTPS returns the value of Strict-Transport-Security for a server with this issuer, or nothing if browsers reach it over plain HTTP or on their own
// machine, where other programs have the same host name.
func StayOnHTTPS(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Hostname() == "localhost" {
		return ""
	}
	return "max-age=31536000"
}

// Document is a response with a document that does not change while the server runs.
type Document struct {
	Type, ETag string
	Body       []byte
}

// VisitGetContractResponse sends the document.
func (d Document) VisitGetContractResponse(w http.ResponseWriter) error { return d.send(w) }

// VisitGetContractAsYAMLResponse sends the document.
func (d Document) VisitGetContractAsYAMLResponse(w http.ResponseWriter) error { return d.send(w) }

func (d Document) send(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", d.Type)
	w.Header().Set("ETag", d.ETag)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Access-Control-Allow-Origin", "*") // it is public, and viewers of such documents are web pages
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(d.Body)
	return err
}
