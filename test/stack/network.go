// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"husk/openapi"
)

// Dialer returns a function that connects to a port of a pod through the API, whatever address it is called with: the tests are not in the pod's
// network.
func (tn *Tenant) Dialer(pod openapi.Pod, port int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return tn.API.Pods.DialPort(ctx, pod.ID, port)
	}
}

// Proxy starts an HTTP proxy that reaches the addresses of these pods, until the test ends, and returns its URL.
func (tn *Tenant) Proxy(t testing.TB, pods ...openapi.Pod) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			if Value(p.Status.Address) == host {
				return tn.API.Pods.DialPort(ctx, p.ID, port)
			}
		}
		return nil, fmt.Errorf("no pod has the address %s", host)
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = ""
		resp, err := transport.RoundTrip(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}
