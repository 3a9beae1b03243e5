// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"husk"
	"husk/ingress"
	"husk/ingress/proxy"
	"husk/server/network"
	"husk/service"
	"husk/store"
)

// seen is what a pod's web server tells about a request.
type seen struct {
	Pod, Method, Path, Host, Body string
	Header                        http.Header
}

// web runs a web server in a pod.
func (p *pod) web(t *testing.T, port int) {
	t.Helper()
	var l net.Listener
	must(t, p.do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(seen{p.Name, r.Method, r.URL.Path, r.Host, string(body), r.Header})
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		after := 2 * time.Second
		if given, err := time.ParseDuration(r.URL.Query().Get("after")); err == nil {
			after = given
		}
		select {
		case <-r.Context().Done():
		case <-time.After(after):
		}
		_, _ = io.WriteString(w, "{}")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // the connection ends anyway
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, text) != nil {
				return
			}
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

// site is a tenant with a pod that serves a host.
type site struct {
	*tenant

	pod     *pod
	host    string
	ingress ingress.Ingress
}

func (l *lab) site(t *testing.T, n *node, host string, change func(*ingress.Ingress)) site {
	t.Helper()
	tn := l.tenant()
	p := tn.pod(n, map[string]string{"app": "web"})
	p.web(t, 8080)
	p.report(husk.EventRunning, true)
	tn.service("web", "web", service.Port{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080})
	i := ingress.Ingress{Name: "web", Labels: map[string]string{}, Rules: []ingress.Rule{{Host: host, Paths: []ingress.Path{{Path: "/", Service: "web", Port: 80}}}}}
	if change != nil {
		change(&i)
	}
	made, err := tn.store.Ingresses().Create(t.Context(), once(), i)
	must(t, err)
	return site{tn, p, host, made}
}

// certified waits until the host has a certificate.
func (s site) certified(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "the host has a certificate", func() error {
		i, err := s.store.Ingresses().Get(t.Context(), s.ingress.ID)
		if err != nil {
			return err
		}
		for _, h := range i.Status.Hosts {
			if h.State != ingress.Ready {
				return fmt.Errorf("%+v", h)
			}
		}
		return nil
	})
}

// served waits until a process, which the client reaches, serves the host: it reads that the service has an address a moment after the certificate is there.
func (s site) served(t *testing.T, client *http.Client) {
	t.Helper()
	eventually(t, 10*time.Second, "the host is served", func() error {
		got, _, err := ask(client, get(t, "https://"+s.host+"/"))
		if err == nil && got.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", got.StatusCode)
		}
		return err
	})
}

// reply is a response without its body.
type reply struct {
	StatusCode, ProtoMajor int
	Header                 http.Header
	serial                 string // of the certificate
}

// ask sends a request and returns what the pod has seen.
func ask(c *http.Client, r *http.Request) (is reply, s seen, _ error) {
	got, err := c.Do(r)
	if err != nil {
		return is, s, err
	}
	defer got.Body.Close()
	is = reply{StatusCode: got.StatusCode, ProtoMajor: got.ProtoMajor, Header: got.Header}
	if got.TLS != nil {
		is.serial = got.TLS.PeerCertificates[0].SerialNumber.String()
	}
	raw, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode == http.StatusOK {
		err = json.Unmarshal(raw, &s)
	} else {
		s.Body = string(raw)
	}
	return is, s, err
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	return r
}

// TestIngressesServeServicesOverHTTPS runs two ingress processes for two tenants, with certificates from pebble.
func TestIngressesServeServicesOverHTTPS(t *testing.T) {
	l := start(t, network.Limits{})
	first, second, o := l.ingressHost(0), l.ingressHost(1), l.outside()
	ca := l.authority(t, o, time.Hour, first.addr)
	stopFirst := l.edge(t, first, ca.acme, proxy.DefaultLimits)
	a := l.site(t, l.nodes[0], "www.example.com", func(i *ingress.Ingress) {
		i.HSTSSeconds = 3600
		i.Rules[0].Paths = append(i.Rules[0].Paths, ingress.Path{Path: "/missing", Service: "missing", Port: 80})
	})
	b := l.site(t, l.nodes[1], "shop.example.com", nil)
	a.certified(t)
	b.certified(t)
	trust := &tls.Config{RootCAs: ca.roots}
	client := o.client(trust, &first.addr)
	a.served(t, client)
	b.served(t, client)

	// HTTP/2, with what the pod learns about the client.
	r := get(t, "https://www.example.com/a/b?c=d")
	r.Header.Set("X-Forwarded-For", "8.8.8.8")
	r.Header.Set("Forwarded", "for=8.8.8.8")
	var got reply
	var s seen
	eventually(t, 10*time.Second, "the host is reached", func() (err error) {
		if got, s, err = ask(client, r); err == nil && got.StatusCode != http.StatusOK {
			err = fmt.Errorf("%d: %s", got.StatusCode, s.Body)
		}
		return err
	})
	if got.ProtoMajor != 2 || s.Pod != a.pod.Name || s.Path != "/a/b" || s.Host != "www.example.com" {
		t.Errorf("the response is %+v from %+v", got, s)
	}
	if h := s.Header; h.Get("X-Forwarded-For") != o.addr.String() || h.Get("X-Forwarded-Proto") != "https" || h.Get("X-Forwarded-Host") != "www.example.com" || h.Get("Forwarded") != "" {
		t.Errorf("the pod gets the header %v", h)
	}
	if hsts := got.Header.Get("Strict-Transport-Security"); hsts != "max-age=3600" {
		t.Errorf("the header of HSTS is %q", hsts)
	}

	// HTTP/1.1 and HTTP/3.
	one := o.client(&tls.Config{RootCAs: ca.roots, NextProtos: []string{"http/1.1"}}, &first.addr)
	one.Transport.(*http.Transport).ForceAttemptHTTP2 = false //nolint:forcetypeassert // from client
	if got, s, err := ask(one, get(t, "https://shop.example.com/")); err != nil || got.ProtoMajor != 1 || s.Pod != b.pod.Name {
		t.Errorf("over HTTP/1.1, the response is %+v from %+v: %v", got, s, err)
	}
	if !strings.Contains(got.Header.Get("Alt-Svc"), "h3=") {
		t.Errorf("the header Alt-Svc is %q", got.Header.Get("Alt-Svc"))
	}
	three := o.client3(t, trust, first.addr)
	if got, s, err := ask(three, get(t, "https://www.example.com/")); err != nil || got.ProtoMajor != 3 || s.Pod != a.pod.Name {
		t.Errorf("over HTTP/3, the response is %+v from %+v: %v", got, s, err)
	}

	// Plain HTTP leads to HTTPS.
	if got, _, err := ask(client, get(t, "http://www.example.com/a?b=c")); err != nil || got.StatusCode != http.StatusPermanentRedirect || got.Header.Get("Location") != "https://www.example.com/a?b=c" {
		t.Errorf("over HTTP, the response is %+v: %v", got, err)
	}

	// Nobody gets a certificate for a host that no tenant has, and no tenant's connection reaches another tenant.
	if got, _, err := ask(client, get(t, "https://other.example.com/")); err == nil {
		t.Errorf("an unknown host has the response %+v", got)
	}
	cross := get(t, "https://www.example.com/")
	cross.Host = "shop.example.com"
	if got, _, err := ask(client, cross); err != nil || got.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request for another host than that of the connection has the response %+v: %v", got, err)
	}
	if got, s, err := ask(client, get(t, "http://other.example.com/")); err != nil || got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown host over HTTP has the response %+v %s: %v", got, s.Body, err)
	}
	if got, s, err := ask(client, get(t, "https://www.example.com/missing/x")); err != nil || got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a service that does not exist has the response %+v %s: %v", got, s.Body, err)
	}

	// A WebSocket stays while other ingresses change.
	socket, _, err := websocket.Dial( //nolint:bodyclose // of an upgraded connection
		t.Context(), "wss://www.example.com/echo", &websocket.DialOptions{HTTPClient: one})
	must(t, err)
	echo := func(text string) {
		t.Helper()
		must(t, socket.Write(t.Context(), websocket.MessageText, []byte(text)))
		if _, back, err := socket.Read(t.Context()); err != nil || string(back) != text {
			t.Errorf("the WebSocket returns %q: %v", back, err)
		}
	}
	echo("before")
	_, err = a.store.Ingresses().Update(t.Context(), a.ingress.ID, nil, func(i ingress.Ingress) (ingress.Ingress, error) { i.HSTSSeconds = 60; return i, nil })
	must(t, err)
	eventually(t, 5*time.Second, "the change is in effect", func() error {
		got, _, err := ask(client, get(t, "https://www.example.com/"))
		if err == nil && got.Header.Get("Strict-Transport-Security") != "max-age=60" {
			err = errors.New("the header of HSTS is the old one")
		}
		return err
	})
	echo("after")
	_ = socket.CloseNow()

	// The other process has the same certificate, and continues alone.
	l.edge(t, second, ca.acme, proxy.DefaultLimits)
	client = o.client(trust, &second.addr)
	eventually(t, 10*time.Second, "both processes have the same certificate", func() error { // pebble may ask to renew one that is new (RFC 9773)
		here, _, err1 := ask(o.client(trust, &first.addr), get(t, "https://www.example.com/"))
		there, s, err2 := ask(client, get(t, "https://www.example.com/"))
		if err := errors.Join(err1, err2); err != nil || here.serial == there.serial && s.Pod == a.pod.Name {
			return err
		}
		return fmt.Errorf("the responses are %+v and %+v", here, there)
	})
	stopFirst(syscall.SIGKILL)
	for range 5 {
		if _, s, err := ask(client, get(t, "https://shop.example.com/")); err != nil || s.Pod != b.pod.Name {
			t.Errorf("without the first process, the response is %+v: %v", s, err)
		}
	}

	// The tenant sees what has passed, and nothing of the other tenant.
	agent := get(t, "https://www.example.com/hostile%1b[31m")
	agent.Header.Set("User-Agent", "mallory\u202e"+strings.Repeat("x", 4096))
	_, _, err = ask(client, agent)
	must(t, err)
	eventually(t, 10*time.Second, "the requests are listed", func() error {
		all, err := a.store.Ingresses().Requests(t.Context(), a.ingress.ID, 0, 100)
		if err != nil || len(all) == 0 || !strings.HasPrefix(all[len(all)-1].Agent, "mallory") {
			return fmt.Errorf("there are %d requests: %w", len(all), err)
		}
		for _, r := range all {
			if r.Host != "www.example.com" || r.Client != o.addr.String() || strings.ContainsAny(r.Path+r.Agent, "\x1b\u202e") || len(r.Agent) > 128 {
				t.Errorf("a request is %+v", r)
			}
		}
		return nil
	})

	// A service without ready pods.
	b.pod.report(husk.EventRunning, false)
	eventually(t, 5*time.Second, "a service without ready pods has the status 503", func() error {
		got, _, err := ask(client, get(t, "https://shop.example.com/"))
		if err == nil && got.StatusCode != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d", got.StatusCode)
		}
		return err
	})

	// A service that is deleted. The balancer behind its address is gone, so the process must not connect there.
	all, _, err := a.store.Services().List(t.Context(), store.Page{Limit: 10}, nil, nil)
	must(t, err)
	waiting := make(chan error, 1)
	go func() {
		began := time.Now()
		got, _, err := ask(client, get(t, "https://www.example.com/slow?after=18s"))
		if err == nil && (got.StatusCode != http.StatusServiceUnavailable || time.Since(began) > 15*time.Second) {
			err = fmt.Errorf("%d after %v", got.StatusCode, time.Since(began))
		}
		waiting <- err
	}()
	socket, _, err = websocket.Dial( //nolint:bodyclose // of an upgraded connection
		t.Context(), "wss://www.example.com/echo", &websocket.DialOptions{HTTPClient: client})
	must(t, err)
	echo("open")
	must(t, a.store.Services().Delete(t.Context(), all[0].ID))
	if err := <-waiting; err != nil {
		t.Errorf("a request under way when its service was deleted: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := socket.Read(soon); err == nil || soon.Err() != nil {
		t.Errorf("a WebSocket stays open after its service was deleted: %v", err)
	}
	eventually(t, 10*time.Second, "a service that was deleted has the status 503 at once", func() error {
		began := time.Now()
		got, _, err := ask(client, get(t, "https://www.example.com/"))
		if err == nil && (got.StatusCode != http.StatusServiceUnavailable || time.Since(began) > 2*time.Second) {
			err = fmt.Errorf("%d after %v", got.StatusCode, time.Since(began))
		}
		return err
	})
}

// client3 returns a client that speaks HTTP/3 only.
func (o *outside) client3(t *testing.T, cfg *tls.Config, to netip.Addr) *http.Client {
	t.Helper()
	var conn *net.UDPConn
	must(t, within(o.ns, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{})
		return err
	}))
	q := &quic.Transport{Conn: conn}
	transport := &http3.Transport{TLSClientConfig: cfg, Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, quicCfg *quic.Config) (*quic.Conn, error) {
		return q.DialEarly(ctx, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 443)), tlsCfg, quicCfg)
	}}
	t.Cleanup(func() {
		_ = transport.Close()
		_ = q.Close()
		_ = conn.Close()
	})
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// TestACertificateIsRenewedWhileRequestsRun has certificates that are valid for seconds.
func TestACertificateIsRenewedWhileRequestsRun(t *testing.T) {
	l := start(t, network.Limits{})
	edges, o := []*outside{l.ingressHost(0), l.ingressHost(1)}, l.outside()
	ca := l.authority(t, o, 20*time.Second, edges[0].addr)
	ca.acme.RenewalShare, ca.acme.RecheckSeconds = 0.5, 1
	for _, e := range edges {
		l.edge(t, e, ca.acme, proxy.DefaultLimits)
	}
	s := l.site(t, l.nodes[0], "www.example.com", nil)
	s.certified(t)
	for _, e := range edges {
		s.served(t, o.client(&tls.Config{RootCAs: ca.roots}, &e.addr))
	}
	var requests, failed atomic.Int64
	serials := make([]sync.Map, len(edges))
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	var asking sync.WaitGroup
	for i, e := range edges {
		for n := range 3 {
			asking.Go(func() {
				client := o.client(&tls.Config{RootCAs: ca.roots}, &e.addr)
				for ctx.Err() == nil {
					if n > 0 { // the first one keeps its connection
						client.CloseIdleConnections()
					}
					got, _, err := ask(client, get(t, "https://www.example.com/"))
					if requests.Add(1); err != nil || got.StatusCode != http.StatusOK {
						failed.Add(1)
						t.Errorf("a request failed: %+v, %v", got, err)
						return
					}
					serials[i].Store(got.serial, true)
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
	for _, protocol := range []string{"h2", "http/1.1"} { // a request that is answered late outlives the certificate
		asking.Go(func() {
			client := o.client(&tls.Config{RootCAs: ca.roots, NextProtos: []string{protocol}}, &edges[0].addr)
			client.Timeout = time.Minute
			if got, _, err := ask(client, get(t, "https://www.example.com/slow?after=40s")); err != nil || got.StatusCode != http.StatusOK {
				t.Errorf("over %s, a request that is answered late has the response %+v: %v", protocol, got, err)
			}
		})
	}
	asking.Wait()
	for i := range serials {
		n := 0
		serials[i].Range(func(any, any) bool { n++; return true })
		if t.Logf("process %d served %d certificates", i, n); n < 3 {
			t.Errorf("process %d served %d certificates, want at least 3", i, n)
		}
	}
	t.Logf("%d of %d requests failed", failed.Load(), requests.Load())
}

// TestNobodyUsesMoreThanTheLimits attacks each limit of an ingress process.
func TestNobodyUsesMoreThanTheLimits(t *testing.T) {
	l := start(t, network.Limits{})
	e, o := l.ingressHost(0), l.outside()
	ca := l.authority(t, o, time.Hour, e.addr)
	limits := proxy.Limits{Requests: 6, RequestsPerSecond: 50, RequestsPerAddress: 4, ConnectionsPerAddress: 20, BodyBytes: 1 << 20, CertificatesPerHour: 3}
	l.edge(t, e, ca.acme, limits)
	a, b := l.site(t, l.nodes[0], "www.example.com", nil), l.site(t, l.nodes[1], "shop.example.com", nil)
	a.certified(t)
	b.certified(t)
	trust := &tls.Config{RootCAs: ca.roots}
	client := o.client(trust, &e.addr)
	a.served(t, client)

	t.Run("requests under way of a client", func(t *testing.T) {
		statuses := map[int]int{}
		var mu sync.Mutex
		var asking sync.WaitGroup
		for range 10 {
			asking.Go(func() {
				got, _, err := ask(client, get(t, "https://www.example.com/slow"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				statuses[got.StatusCode]++
				mu.Unlock()
			})
		}
		asking.Wait()
		if statuses[http.StatusOK] != limits.RequestsPerAddress || statuses[http.StatusTooManyRequests] != 10-limits.RequestsPerAddress {
			t.Errorf("the statuses are %v", statuses)
		}
	})
	t.Run("body", func(t *testing.T) {
		for _, length := range []int64{limits.BodyBytes + 1, -1} { // with and without a length in the header
			r := get(t, "https://www.example.com/")
			r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(io.LimitReader(zeros{}, limits.BodyBytes+1)), length
			if got, _, err := ask(client, r); err != nil || got.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("a body that is too large, with the length %d, has the response %+v: %v", length, got, err)
			}
		}
		r := get(t, "https://www.example.com/")
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(io.LimitReader(zeros{}, limits.BodyBytes)), limits.BodyBytes
		if got, s, err := ask(client, r); err != nil || got.StatusCode != http.StatusOK || int64(len(s.Body)) != limits.BodyBytes {
			t.Errorf("a body of the largest size has the response %+v, and the pod has got %d bytes: %v", got, len(s.Body), err)
		}
	})
	t.Run("header", func(t *testing.T) {
		r := get(t, "https://www.example.com/")
		r.Header.Set("X-Large", strings.Repeat("x", 1<<20))
		if got, _, err := ask(client, r); err == nil && got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 1 MiB has the response %+v", got)
		}
	})
	t.Run("requests per second of a tenant", func(t *testing.T) {
		refused := 0
		for range 6 * limits.RequestsPerSecond {
			if got, _, err := ask(client, get(t, "https://www.example.com/")); err == nil && got.StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused == 0 {
			t.Error("no request is refused")
		}
		if got, _, err := ask(client, get(t, "https://shop.example.com/")); err != nil || got.StatusCode != http.StatusOK {
			t.Errorf("another tenant's host has the response %+v: %v", got, err)
		}
		eventually(t, 10*time.Second, "the host answers again", func() error {
			got, _, err := ask(client, get(t, "https://www.example.com/"))
			if err == nil && got.StatusCode != http.StatusOK {
				err = fmt.Errorf("%d", got.StatusCode)
			}
			return err
		})
	})
	t.Run("slow clients", func(t *testing.T) {
		var ended atomic.Int64
		var slow sync.WaitGroup
		for range 5 {
			slow.Go(func() {
				c, err := o.dialer(&e.addr)(t.Context(), "tcp4", "www.example.com:80")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.com\r\n")
				began := time.Now()
				_ = c.SetReadDeadline(began.Add(30 * time.Second))
				for {
					if _, err := io.WriteString(c, "X-Slow: 1\r\n"); err != nil || time.Since(began) > 25*time.Second {
						break
					}
					time.Sleep(time.Second)
				}
				if time.Since(began) < 20*time.Second {
					ended.Add(1)
				}
			})
		}
		slow.Wait()
		if ended.Load() != 5 {
			t.Errorf("%d of 5 connections with an endless header end within 20 s", ended.Load())
		}
	})
	t.Run("connections of a client", func(t *testing.T) {
		client.CloseIdleConnections()
		open := 0
		for range 3 * limits.ConnectionsPerAddress {
			c, err := o.dialer(&e.addr)(t.Context(), "tcp4", "www.example.com:443")
			if err != nil {
				continue
			}
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open++ // it is not closed
			}
		}
		if open == 0 || open > limits.ConnectionsPerAddress {
			t.Errorf("%d connections are open, want at most %d", open, limits.ConnectionsPerAddress)
		}
	})
	t.Run("certificates per hour", func(t *testing.T) {
		_, err := a.store.Ingresses().Update(t.Context(), a.ingress.ID, nil, func(i ingress.Ingress) (ingress.Ingress, error) {
			for n := range limits.CertificatesPerHour + 2 {
				i.Rules = append(i.Rules, ingress.Rule{Host: fmt.Sprintf("n%d.example.com", n), Paths: i.Rules[0].Paths})
			}
			return i, nil
		})
		must(t, err)
		eventually(t, 60*time.Second, "some hosts get no certificate", func() error {
			i, err := a.store.Ingresses().Get(t.Context(), a.ingress.ID)
			if err != nil {
				return err
			}
			states := map[ingress.State]int{}
			for _, h := range i.Status.Hosts {
				states[h.State]++
				if h.State == ingress.Failed && !strings.Contains(h.Message, "more than 3 new certificates") {
					return fmt.Errorf("%+v", h)
				}
			}
			if states[ingress.Ready] != limits.CertificatesPerHour || states[ingress.Failed] != 3 {
				return fmt.Errorf("the states are %v", states)
			}
			return nil
		})
	})
}

// zeros is an endless body.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}
