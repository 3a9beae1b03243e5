// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"husk/ingress"
	"husk/store/edge"
)

// handler passes requests on to services.
type handler struct {
	process *process
	proxy   caddyhttp.MiddlewareHandler
}

// CaddyModule implements caddy.Module.
func (*handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.husk", New: func() caddy.Module { return new(handler) }}
}

// upstreamVar is the variable with the address of the service.
const upstreamVar = "husk.service"

// Provision implements caddy.Provisioner.
func (h *handler) Provision(ctx caddy.Context) error {
	h.process = running.Load()
	raw, err := json.Marshal(object{
		"upstreams": []any{object{"dial": "{http.vars." + upstreamVar + "}"}},
		"transport": object{
			"protocol": "http", "versions": []string{"1.1"}, "compression": false, "dial_timeout": dialTime, "response_header_timeout": answerTime, "max_response_header_size": maxHeader,
			// Each request has a connection of its own, because the network chooses a pod for each connection: requests are spread evenly, and none
			// waits on a connection to a pod that is gone.
			"keep_alive": object{"enabled": false},
		},
		// Clients choose the values of these headers, and servers behind proxies believe them. X-Forwarded-For is replaced anyway.
		"headers":        object{"request": object{"delete": []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip"}}},
		"stream_timeout": streamTime, "flush_interval": 0,
	})
	if err != nil {
		return err
	}
	module, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", raw)
	if err != nil {
		return err
	}
	proxy, ok := module.(caddyhttp.MiddlewareHandler)
	if !ok {
		return fmt.Errorf("%T is not a handler", module)
	}
	h.proxy = proxy
	return nil
}

// refusal is a response of the platform itself.
type refusal struct {
	status  int
	text    string
	limited bool
}

// Error implements error.
func (r refusal) Error() string { return r.text }

var (
	errUnknownHost = refusal{status: http.StatusNotFound, text: "no ingress has this host"}
	errMisdirected = refusal{status: http.StatusMisdirectedRequest, text: "the connection was made for another host"}
	errUnknownPath = refusal{status: http.StatusNotFound, text: "no path of the ingress applies"}
	errNoAddress   = refusal{status: http.StatusServiceUnavailable, text: "the service is not connected yet"}
	errGone        = refusal{status: http.StatusServiceUnavailable, text: "the ingress no longer leads to this service"}
	errNoPod       = refusal{status: http.StatusServiceUnavailable, text: "no pod of the service accepts connections"}
	errNoResponse  = refusal{status: http.StatusBadGateway, text: "the pod did not respond"}
	errLate        = refusal{status: http.StatusGatewayTimeout, text: "the pod did not respond in time"}
	errBody        = refusal{status: http.StatusRequestEntityTooLarge, text: "the body of the request is too large", limited: true}
)

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	name := hostOf(r)
	host, known := h.process.table.Load().hosts[name]
	switch {
	case !known:
		errUnknownHost.write(w)
		return nil
	case r.TLS != nil && r.TLS.ServerName != name: // the client could have a connection to another tenant's host
		errMisdirected.write(w)
		return nil
	}
	began := time.Now()
	body := &counted{ReadCloser: r.Body}
	rec := caddyhttp.NewResponseRecorder(&strict{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, seconds: host.HSTSSeconds}, nil, nil)
	var answered refusal
	defer func() {
		h.process.traffic.add(host.ID, requestOf(r, name, began, rec, body, answered), answered.limited)
	}()
	client := customer(r.RemoteAddr)
	leave, why := h.process.use.enter(host.Tenant, client)
	if leave == nil {
		answered = refusal{status: http.StatusTooManyRequests, text: why, limited: true}
		answered.write(rec)
		return nil
	}
	defer leave()
	if err := h.pass(rec, r, host, body); err != nil {
		if answered = refusalOf(err); rec.Status() == 0 {
			answered.write(rec)
		}
	}
	return nil
}

// pass passes a request on.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, host edge.Host, body *counted) error {
	service, found := service(host, r.URL.Path)
	switch {
	case !found:
		return errUnknownPath
	case !service.IsValid():
		return errNoAddress
	case r.ContentLength > h.process.Limits.BodyBytes:
		return errBody
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, body, h.process.Limits.BodyBytes)
	}
	to := target{host.Name, service}
	ctx, leave := h.process.open.enter(r.Context(), to)
	defer leave()
	if !h.process.table.Load().targets[to] { // the table was replaced meanwhile
		return errGone
	}
	caddyhttp.SetVar(ctx, upstreamVar, service.String())
	err := h.proxy.ServeHTTP(w, r.WithContext(ctx), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	if errors.Is(context.Cause(ctx), errGone) {
		return errGone
	}
	return err
}

// refusalOf returns the response to a client whose request could not be passed on.
func refusalOf(err error) refusal {
	if r, ok := errors.AsType[refusal](err); ok {
		return r
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errBody
	}
	if _, ok := errors.AsType[reverseproxy.DialError](err); ok {
		return errNoPod
	}
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		switch e.StatusCode {
		case http.StatusGatewayTimeout:
			return errLate
		case 499: // the client has left
			return refusal{status: 499, text: "the client has left"}
		}
	}
	return errNoResponse
}

func (r refusal) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.text+"\n")
}

// counted counts the bytes of a body.
type counted struct {
	io.ReadCloser

	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

// strict adds the header of HSTS, unless the service sends one.
type strict struct {
	*caddyhttp.ResponseWriterWrapper

	seconds int
}

// WriteHeader implements http.ResponseWriter.
func (s *strict) WriteHeader(status int) {
	if s.seconds > 0 && s.Header().Get("Strict-Transport-Security") == "" {
		s.Header().Set("Strict-Transport-Security", "max-age="+strconv.Itoa(s.seconds))
	}
	s.ResponseWriterWrapper.WriteHeader(status)
}

const (
	maxPath  = 256 // bytes of a path that are kept
	maxAgent = 128
	maxWord  = 32
)

// requestOf returns what is kept of a request.
func requestOf(r *http.Request, host string, began time.Time, rec caddyhttp.ResponseRecorder, body *counted, answered refusal) ingress.Request {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	status := rec.Status()
	if status == 0 {
		status = answered.status
	}
	return ingress.Request{
		At: began, Client: edge.Text(client, maxWord*2), Protocol: edge.Text(r.Proto, maxWord), Method: edge.Text(r.Method, maxWord), Host: host, Path: edge.Text(r.URL.Path, maxPath), Status: status,
		ReceivedBytes: body.n, SentBytes: int64(rec.Size()), Milliseconds: time.Since(began).Milliseconds(), Agent: edge.Text(r.UserAgent(), maxAgent), Note: answered.text,
	}
}

// redirect leads clients from HTTP to HTTPS.
type redirect struct{}

// CaddyModule implements caddy.Module.
func (redirect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.husk_redirect", New: func() caddy.Module { return new(redirect) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (redirect) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	p := running.Load()
	if p == nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, nil)
	}
	name := hostOf(r)
	if _, known := p.table.Load().hosts[name]; !known {
		errUnknownHost.write(w)
		return nil
	}
	to := "https://" + name
	if p.PublicPort != 443 {
		to += ":" + strconv.Itoa(p.PublicPort)
	}
	w.Header().Set("Connection", "close")
	http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusPermanentRedirect) //nolint:gosec // to a host of an ingress
	return nil
}
