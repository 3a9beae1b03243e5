// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

const (
	connectTimeout = 10 * time.Second // for TCP, and again for TLS
	answerTimeout  = 30 * time.Second // until the headers of a response
	maxHeader      = 64 << 10         // bytes of the headers of a response
	maxRedirects   = 5
)

// ErrRedirect is returned for a chain of redirects that is too long or leads from TLS to plain
// HTTP.
var ErrRedirect = errors.New("redirect refused")

// Transport is an http.RoundTripper that only connects to what its policy allows. It is safe for
// concurrent use.
type Transport struct {
	secure, plain *http.Transport
}

// Transport returns a transport. The caller must end it with CloseIdleConnections.
func (p Policy) Transport() *Transport {
	return &Transport{secure: p.transport(false), plain: p.transport(true)}
}

// Client returns a client with a new transport. timeout limits each request, including its redirects
// and reading the response. The caller must end it with CloseIdleConnections.
func (p Policy) Client(timeout time.Duration) *http.Client {
	return &http.Client{Transport: p.Transport(), Timeout: timeout}
}

func (p Policy) transport(plain bool) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // see the package's comment
		DialContext:            p.dial(plain),
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  answerTimeout,
		IdleConnTimeout:        answerTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    4,
		ForceAttemptHTTP2:      true,
	}
}

// dial connects after it has checked each address that DNS returned.
func (p Policy) dial(plain bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		dialer := net.Dialer{Timeout: connectTimeout, Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("check the address %s: %w", address, err)
			}
			if why := p.refusal(to.Addr(), plain); why != "" {
				return &RefusedError{Host: host, Addr: to.Addr(), Why: why}
			}
			return nil
		}}
		return dialer.DialContext(ctx, network, address)
	}
}

// RoundTrip implements http.RoundTripper. If the policy forbids the request, it returns a
// *RefusedError or ErrRedirect, wrapped.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := checkRedirects(req); err != nil {
		closeBody(req)
		return nil, err
	}
	switch req.URL.Scheme {
	case "https":
		return t.secure.RoundTrip(req)
	case "http":
		return t.plain.RoundTrip(req)
	default:
		closeBody(req)
		return nil, fmt.Errorf("%s: the scheme %q is not supported", req.URL.Redacted(), req.URL.Scheme)
	}
}

// CloseIdleConnections closes idle connections.
func (t *Transport) CloseIdleConnections() {
	t.secure.CloseIdleConnections()
	t.plain.CloseIdleConnections()
}

// checkRedirects checks the redirects that led to a request; net/http links each request to the
// response that caused it. This is not done in http.Client, because libraries that take a transport
// make their own clients.
func checkRedirects(req *http.Request) error {
	hops := 0
	for r := req; r.Response != nil && r.Response.Request != nil; r = r.Response.Request {
		if hops++; hops > maxRedirects {
			return fmt.Errorf("%w: more than %d, the last to %s", ErrRedirect, maxRedirects, req.URL.Host)
		}
		if from := r.Response.Request.URL; from.Scheme == "https" && r.URL.Scheme != "https" {
			return fmt.Errorf("%w: from https at %s to %s at %s", ErrRedirect, from.Host, r.URL.Scheme, r.URL.Host)
		}
	}
	return nil
}

// closeBody closes the request's body, which http.RoundTripper requires on every return.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close() //nolint:errcheck // the body is not sent
	}
}
