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
	answerTimeout  = 30 * time.Second // until the headers of an answer
	maxHeader      = 64 << 10         // bytes of the headers of an answer
	maxRedirects   = 5
)

// ErrRedirect is what a chain of redirects ends in that is too long or leads from TLS to plain HTTP.
var ErrRedirect = errors.New("redirect refused")

// Transport is an http.RoundTripper that connects to what its policy allows. It is safe for concurrent use.
type Transport struct {
	secure, plain *http.Transport
}

// Transport makes a transport. Whoever makes it ends it with CloseIdleConnections.
func (p Policy) Transport() *Transport {
	return &Transport{secure: p.transport(false), plain: p.transport(true)}
}

// Client makes a client over a new transport. timeout bounds each request, its redirects and the reading of the answer. Whoever makes it
// ends it with CloseIdleConnections.
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

// dial connects after each address that DNS gave was judged.
func (p Policy) dial(plain bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		dialer := net.Dialer{Timeout: connectTimeout, Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("judge %s: %w", address, err)
			}
			if why := p.refusal(to.Addr(), plain); why != "" {
				return &RefusedError{Host: host, Addr: to.Addr(), Why: why}
			}
			return nil
		}}
		return dialer.DialContext(ctx, network, address)
	}
}

// RoundTrip implements http.RoundTripper. It returns a *RefusedError or ErrRedirect, wrapped, for what the policy forbids.
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
		return nil, fmt.Errorf("%s: there is no way to speak %q", req.URL.Redacted(), req.URL.Scheme)
	}
}

// CloseIdleConnections lets go of kept connections.
func (t *Transport) CloseIdleConnections() {
	t.secure.CloseIdleConnections()
	t.plain.CloseIdleConnections()
}

// checkRedirects looks back over the redirects that made a request; net/http links each to the answer that caused it. It is done here
// and not in http.Client, because libraries that are given a transport make clients of their own.
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

// closeBody does what http.RoundTripper asks for on every way out.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close() //nolint:errcheck // what is not sent has nothing to lose
	}
}
