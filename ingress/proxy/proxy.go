// SPDX-License-Identifier: Apache-2.0

// Package proxy is the ingress process: it serves the hosts of all tenants' ingresses over HTTPS and passes requests on to their services. Caddy is its
// engine, with HTTP/1.1, HTTP/2 and HTTP/3, certificates, and the reverse proxy.
//
// Caddy's configuration never changes. What changes is a table of hosts, which is read from Postgres (package store/edge) and replaced as a whole, so no
// object of a tenant can be a configuration that Caddy refuses, and no change ends a connection. Modules of this package connect Caddy with the table
// (handler.go), with Postgres for certificates (storage.go), and with what is known about the hosts when a certificate is needed (certificates.go).
//
// Several processes share everything: the account at the certificate authority, the certificates, and the answers to the authority's challenges.
package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	// Caddy's modules that the configuration names.
	_ "github.com/caddyserver/caddy/v2/modules/caddyevents"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddypki"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"

	"husk/store/edge"
)

// Config says where to listen, where certificates come from, and what one tenant or client can use.
type Config struct {
	Store      *edge.Store
	Log        *slog.Logger
	HTTP       string // address for plain HTTP, such as :80
	HTTPS      string // and for HTTPS, such as :443
	PublicPort int    // the port of HTTPS in redirects
	ACME       ACME
	Limits     Limits
}

// ACME says which certificate authority issues certificates.
type ACME struct {
	Directory string // empty: an authority of this installation's own, which no browser trusts
	RootsFile string // of the authority's own certificate, unless the system trusts it
	Email     string // for messages of the authority
	// RenewalShare is the share of its life that a certificate has left when it is renewed. 0 means a third.
	RenewalShare float64
	// RecheckSeconds is how soon a renewal is checked. 0 means a minute.
	RecheckSeconds int
}

// Limits is what one tenant, or one client, can use of a process.
type Limits struct {
	Requests              int   // of a tenant, under way at the same time
	RequestsPerSecond     int   // of a tenant; the burst is twice as large
	RequestsPerAddress    int   // of one client to a tenant, under way at the same time
	ConnectionsPerAddress int   // of one client
	BodyBytes             int64 // of one request
	CertificatesPerHour   int   // new ones of a tenant
}

// DefaultLimits are the limits if the operator sets no others.
var DefaultLimits = Limits{Requests: 512, RequestsPerSecond: 1000, RequestsPerAddress: 128, ConnectionsPerAddress: 256, BodyBytes: 1 << 30, CertificatesPerHour: 20}

// process is the state that Caddy's modules share. There is one per process, because Caddy has one configuration per process.
type process struct {
	Config

	table    atomic.Pointer[table]
	use      *use
	open     *open
	traffic  *traffic
	locks    *locks
	failures *failures
}

// running is the process that Caddy's modules belong to.
var running atomic.Pointer[process]

// errRunning means that there is a process already.
var errRunning = errors.New("this process serves ingresses already")

// register tells Caddy about the modules of this package.
var register = sync.OnceFunc(func() {
	for _, m := range []caddy.Module{new(handler), redirect{}, listenerWrapper{}, storage{}, permission{}, events{}} {
		caddy.RegisterModule(m)
	}
})

// Run serves until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	p := &process{Config: cfg, use: newUse(cfg.Limits), open: newOpen(), traffic: newTraffic(), locks: newLocks(), failures: newFailures()}
	if !running.CompareAndSwap(nil, p) {
		return errRunning
	}
	defer running.Store(nil)
	register()
	changed := make(chan struct{}, 1)
	cfg.Store.OnChange(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err := p.read(ctx); err != nil {
		return err
	}
	raw, err := p.caddy()
	if err != nil {
		return err
	}
	// The first process makes the authority of the installation's own; others wait.
	if err := p.lock(ctx, "start"); err != nil {
		return err
	}
	err = caddy.Load(raw, true)
	if unlockErr := p.unlock(ctx, "start"); err == nil {
		err = unlockErr
	}
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var loops sync.WaitGroup
	loops.Go(func() { p.follow(ctx, changed) })
	loops.Go(func() { p.report(ctx) })
	loops.Go(func() { p.certify(ctx) })
	cfg.Log.Info("serving ingresses", "http", cfg.HTTP, "https", cfg.HTTPS, "hosts", len(p.table.Load().hosts))
	<-ctx.Done()
	err = caddy.Stop()
	loops.Wait()
	p.flush(context.WithoutCancel(ctx))
	return err
}

const (
	// drainTime is how long requests may take that are under way when the process ends.
	drainTime = 10 * time.Second
	// headerTime is how long a client may take to send the header of a request, and to shake hands.
	headerTime = 10 * time.Second
	// stallTime is how long a client may send or read nothing in the middle of a body.
	stallTime = time.Minute
	// idleTime is how long a connection may wait for its next request.
	idleTime = 2 * time.Minute
	// dialTime is how long a service may take to accept a connection, and answerTime to begin its response.
	dialTime   = 5 * time.Second
	answerTime = 2 * time.Minute
	// streamTime is how long an upgraded connection, such as a WebSocket, can last.
	streamTime = 24 * time.Hour
	// maxHeader is how long the header of a request and of a response can be.
	maxHeader = 64 << 10
	// cached is how many certificates a process keeps in memory.
	cached = 10_000
	// defaultRenewalShare is the share of its life that a certificate has left when it is renewed.
	defaultRenewalShare = 1.0 / 3
)

type object = map[string]any

// caddy returns Caddy's configuration.
func (p *process) caddy() ([]byte, error) {
	httpHost, httpPort, err := split(p.HTTP)
	if err != nil {
		return nil, err
	}
	_, httpsPort, err := split(p.HTTPS)
	if err != nil {
		return nil, err
	}
	issuer := object{"module": "internal", "lifetime": "168h", "sign_with_root": true}
	if p.ACME.Directory != "" {
		issuer = object{
			"module": "acme", "ca": p.ACME.Directory, "email": p.ACME.Email,
			"challenges": object{"http": object{"alternate_port": httpPort}, "tls-alpn": object{"alternate_port": httpsPort}, "bind_host": httpHost},
		}
		if p.ACME.RootsFile != "" {
			issuer["trusted_roots_pem_files"] = []string{p.ACME.RootsFile}
		}
	}
	server := func(listen string, more object) object {
		s := object{
			"listen": []string{listen}, "automatic_https": object{"disable": true},
			// A minimum rate would count from the beginning of the request, and end those that a pod answers late.
			"read_header_timeout": headerTime, "read_idle_timeout": stallTime, "write_idle_timeout": stallTime,
			"idle_timeout": idleTime, "max_header_bytes": maxHeader,
		}
		maps.Copy(s, more)
		return s
	}
	handle := func(handler string) []any { return []any{object{"handle": []any{object{"handler": handler}}}} }
	return json.Marshal(object{
		"admin": object{"disabled": true, "config": object{"persist": false}},
		// What clients and tenants cause is in the tenants' own logs.
		"logging": object{"logs": object{"default": object{
			"level": "WARN", "writer": object{"output": "stderr"}, "exclude": []string{"http.log.error", "http.handlers.reverse_proxy", "http.stdlib"},
			"sampling": object{"interval": time.Second, "first": 10, "thereafter": 100},
		}}},
		"storage": object{"module": "husk"},
		"apps": object{
			"events": object{"subscriptions": []any{object{"events": []string{"cert_obtaining", "cert_obtained", "cert_failed"}, "handlers": []any{object{"handler": "husk"}}}}},
			"pki":    object{"certificate_authorities": object{"local": object{"install_trust": false, "name": "Husk ingress"}}},
			"tls": object{
				"automation": object{
					"policies":  []any{object{"issuers": []any{issuer}, "on_demand": true, "renewal_window_ratio": p.renewalShare()}},
					"on_demand": object{"permission": object{"module": "husk"}},
				},
				"cache": object{"capacity": cached},
			},
			"http": object{
				"http_port": httpPort, "https_port": httpsPort, "grace_period": drainTime,
				"servers": object{
					"http": server(p.HTTP, object{"routes": handle("husk_redirect"), "protocols": []string{"h1"}, "listener_wrappers": []any{object{"wrapper": "husk"}}}),
					"https": server(p.HTTPS, object{
						"routes": handle("husk"), "protocols": []string{"h1", "h2", "h3"}, "allow_0rtt": false, // an attacker can repeat requests in early data (RFC 8470)
						"tls_connection_policies": []any{object{}},
						"listener_wrappers":       []any{object{"wrapper": "husk"}, object{"wrapper": "tls"}},
					}),
				},
			},
		},
	})
}

func (p *process) renewalShare() float64 {
	if p.ACME.RenewalShare > 0 {
		return p.ACME.RenewalShare
	}
	return defaultRenewalShare
}

// httpsServer returns Caddy's server for HTTPS.
func httpsServer() (*caddyhttp.Server, caddy.Context, error) {
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil, ctx, err
	}
	http, ok := app.(*caddyhttp.App)
	if !ok || http.Servers["https"] == nil {
		return nil, ctx, errors.New("there is no server for HTTPS")
	}
	return http.Servers["https"], ctx, nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
