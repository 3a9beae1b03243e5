package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

const (
	// maxDocument bounds everything that is not a blob: manifests, tokens,
	// errors. Registries themselves take manifests up to 4 MiB.
	maxDocument = 4 << 20

	connectTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	stallTimeout   = 60 * time.Second // without a byte of a body
)

// guard is the http.RoundTripper for one registry. Tenants name registries, so
// it must not lead them into the host: plain HTTP goes to loopback only, and
// loopback and link-local addresses are reached only where the reference itself
// names loopback, never by redirect or by DNS.
type guard struct {
	base *http.Transport
}

func newGuard(registryHost string) *guard {
	toLoopback := isLoopback(registryHost)
	dialer := &net.Dialer{Timeout: connectTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		ip := addr.Addr().Unmap()
		if !toLoopback && (ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast()) {
			return fmt.Errorf("%s leads to %s, an address of the host", registryHost, ip)
		}
		return nil
	}}
	return &guard{base: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  answerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
	}}
}

// close lets go of kept connections.
func (g *guard) close() { g.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !isLoopback(req.URL.Host) {
		return nil, fmt.Errorf("%s: only a registry on loopback may speak plain http", req.URL.Host)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(err)
		return nil, err
	}
	resp.Request = req // ours; the copy has our context only
	body := &boundedBody{body: resp.Body, cancel: cancel, left: maxDocument}
	if isBlob(req) {
		body.left = -1 // bounded by the size in the manifest
	}
	body.stall = time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	body.ctx = ctx
	resp.Body = body
	return resp, nil
}

var errStalled = fmt.Errorf("registry sent nothing for %s", stallTimeout)

// boundedBody ends a body that is too long or does not go on.
type boundedBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  *time.Timer
	left   int64 // -1: no bound
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("answer is longer than %d bytes: %w", maxDocument, ErrTooLarge)
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if errors.Is(err, context.Canceled) {
		err = context.Cause(b.ctx)
	}
	b.stall.Reset(stallTimeout)
	return n, err
}

func (b *boundedBody) Close() error {
	b.stall.Stop()
	err := b.body.Close()
	b.cancel(context.Canceled)
	return err
}

// isBlob looks at what was asked first, before any redirect.
func isBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/")
}

func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
