// SPDX-License-Identifier: Apache-2.0

// Package probe asks a service of a pod whether it is healthy, by HTTP or by the standard health
// service of gRPC. The service is hostile, so everything that is read from it is bounded.
//
// It is a program of its own, husk-probe, and not a part of husk-init: a client of HTTP would double
// the size of husk-init in the memory of every pod, and would read hostile bytes in PID 1.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"husk/guest"
)

// maxHeader limits the header of a response, in bytes. Of a body, only gRPC's answer is read.
const maxHeader = 16 << 10

// HTTP sends a GET request. It does not follow redirects and does not check certificates, as
// Kubernetes does not: the connection stays in the pod.
func HTTP(ctx context.Context, host string, get guest.HTTPGet) error {
	transport := newTransport()
	defer transport.CloseIdleConnections()
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{} // HTTP/1.1 only
	path := get.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	target := cmp.Or(get.Scheme, "http") + "://" + address(host, get.Port) + path
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "husk-probe")
	for _, h := range get.Headers {
		if strings.EqualFold(h.Name, "Host") {
			r.Host = h.Value
		} else {
			r.Header.Add(h.Name, h.Value)
		}
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return shorten(err)
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	return nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the connection stays in the pod
	}
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// shorten leaves out the addresses, which the pod's owner knows.
func shorten(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
