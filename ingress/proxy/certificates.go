// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"husk/store/edge"
)

// Certificates come on demand: Caddy gets one in a handshake that needs it. But no client can cause that: the process shakes hands with itself, for each
// host that a tenant has added, and for each host whose certificate is about to end. So it decides when and how often the authority is asked, and knows
// what has become of it.

const (
	// claimEvery is how often a process looks for hosts whose certificates need a look, and claimMax how many it takes at once.
	claimEvery = time.Second
	claimMax   = 8
	// attemptTime is how long an attempt to get a certificate can take, and claimTime for how long the host belongs to this process.
	attemptTime = 3 * time.Minute
	claimTime   = 5 * time.Minute
	// retryFirst is how long after a failure the next attempt follows. Each further failure doubles it, up to retryLast.
	retryFirst = time.Minute
	retryLast  = 6 * time.Hour
	// recheckAfter is how soon a process looks again at a certificate that another one renews.
	recheckAfter = time.Minute
)

// ownConn is the server's end of a handshake with itself.
type ownConn struct{ net.Conn }

// permission says whether Caddy may get a certificate.
type permission struct{}

// CaddyModule implements caddy.Module.
func (permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.husk", New: func() caddy.Module { return new(permission) }}
}

// CertificateAllowed implements caddytls.OnDemandPermission. A client gets a certificate that there is.
func (permission) CertificateAllowed(ctx context.Context, name string) error {
	host, known := running.Load().table.Load().hosts[name]
	if !known {
		return fmt.Errorf("%w: no ingress has the host", caddytls.ErrPermissionDenied)
	}
	hello, ok := ctx.Value(certmagic.ClientHelloInfoCtxKey).(*tls.ClientHelloInfo)
	if !ok || hello == nil { // the renewal of a certificate that there is
		return nil
	}
	if _, own := hello.Conn.(ownConn); own || host.Certificate.ExpiresAt != nil {
		return nil
	}
	// Another process may just have got it. Certmagic asks for one handshake of a host at a time, so clients cannot make this many queries.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if issued, err := running.Load().Store.HasCertificate(ctx, name); err != nil || issued {
		return err
	}
	return fmt.Errorf("%w: the host has no certificate yet", caddytls.ErrPermissionDenied)
}

// failures are what went wrong lately, by host.
type failures struct {
	mu  sync.Mutex
	all map[string]*failure
}

type failure struct {
	err   error
	times int
	next  time.Time // no renewal before
}

func newFailures() *failures { return &failures{all: map[string]*failure{}} }

func (f *failures) add(host string, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.all[host]
	if of == nil {
		of = &failure{}
		f.all[host] = of
	}
	of.err, of.times = err, of.times+1
	of.next = now.Add(backoff(of.times))
}

func (f *failures) clear(host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, host)
}

// last returns when a host may be tried again, and what went wrong the last time.
func (f *failures) last(host string) (next time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if of := f.all[host]; of != nil {
		return of.next, of.err
	}
	return time.Time{}, nil
}

// keep drops all hosts that are not in the table.
func (f *failures) keep(t *table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for host := range f.all {
		if _, known := t.hosts[host]; !known {
			delete(f.all, host)
		}
	}
}

// backoff returns how long after so many failures the next attempt follows.
func backoff(failures int) time.Duration {
	wait := retryFirst
	for range failures - 1 {
		if wait *= 2; wait > retryLast {
			return retryLast
		}
	}
	return wait
}

// events hears what becomes of attempts to get certificates.
type events struct{}

// CaddyModule implements caddy.Module.
func (events) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.husk", New: func() caddy.Module { return new(events) }}
}

var errTooSoon = fmt.Errorf("%w: the last attempt failed a short time ago", caddy.ErrEventAborted)

// Handle implements caddyevents.Handler. An error ends the attempt.
func (events) Handle(ctx context.Context, e caddy.Event) error {
	p := running.Load()
	host, _ := e.Data["identifier"].(string)
	switch e.Name() {
	case "cert_obtaining":
		if renewal, _ := e.Data["renewal"].(bool); renewal {
			if next, _ := p.failures.last(host); time.Now().Before(next) {
				return errTooSoon
			}
		}
	case "cert_obtained":
		p.failures.clear(host)
	case "cert_failed":
		err, ok := e.Data["error"].(error)
		if !ok {
			err = errors.New("the certificate authority issued no certificate")
		}
		p.failures.add(host, err, time.Now())
		// The attempt itself may take longer, and the tenant wants to know.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := p.Store.Failed(ctx, host, err.Error(), time.Now().Add(claimTime)); err != nil {
			p.Log.Warn("could not store why a host has no certificate", "host", host, "error", err)
		}
	}
	return nil
}

// certify looks at the certificates of hosts when they need it, until ctx ends.
func (p *process) certify(ctx context.Context) {
	var looking sync.WaitGroup
	defer looking.Wait()
	free := make(chan struct{}, claimMax)
	tick := time.NewTicker(claimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.failures.keep(p.table.Load())
		want := claimMax - len(free)
		if want == 0 {
			continue
		}
		due, err := p.Store.Claim(ctx, want, claimTime)
		if err != nil {
			if ctx.Err() == nil {
				p.Log.Warn("could not look for hosts that need a certificate", "error", err)
			}
			continue
		}
		for _, d := range due {
			free <- struct{}{}
			looking.Go(func() {
				defer func() { <-free }()
				if err := p.look(ctx, d); err != nil && ctx.Err() == nil {
					p.Log.Warn("could not store the state of a certificate", "host", d.Host, "error", err)
				}
			})
		}
	}
}

// look gets a host a certificate, or has it renewed, or finds that it is good. The error is that of Postgres.
func (p *process) look(ctx context.Context, d edge.Due) error {
	if _, known := p.table.Load().hosts[d.Host]; !known { // it is new
		if err := p.read(ctx); err != nil {
			return err
		}
	}
	if d.ExpiresAt == nil || d.ExpiresAt.Before(time.Now()) {
		orders, until, err := p.Store.Order(ctx, d.Tenant)
		if err != nil {
			return err
		}
		if orders > p.Limits.CertificatesPerHour {
			return p.Store.Failed(ctx, d.Host, fmt.Sprintf("the tenant has asked for more than %d new certificates within an hour; the platform continues at %s",
				p.Limits.CertificatesPerHour, until.UTC().Format(time.RFC3339)), until)
		}
	}
	attempt, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	leaf, err := shake(attempt, d.Host)
	_, why := p.failures.last(d.Host)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if why == nil {
			why = err
		}
		return p.Store.Failed(ctx, d.Host, why.Error(), time.Now().Add(backoff(d.Failures+1)))
	}
	window := time.Duration(float64(leaf.NotAfter.Sub(leaf.NotBefore)) * p.renewalShare())
	next := leaf.NotAfter.Add(-window)
	if now := time.Now(); next.Before(now) { // the handshake has begun the renewal
		next = now.Add(recheckAfter)
		if p.ACME.RecheckSeconds > 0 {
			next = now.Add(time.Duration(p.ACME.RecheckSeconds) * time.Second)
		}
		if why != nil {
			return p.Store.Failed(ctx, d.Host, why.Error(), next)
		}
	}
	return p.Store.Issued(ctx, d.Host, leaf.NotBefore, leaf.NotAfter, next)
}

// shake shakes hands with this process's own server, as a client of a host, and returns the certificate.
func shake(ctx context.Context, host string) (*x509.Certificate, error) {
	server, caddyCtx, err := httpsServer()
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	failed := make(chan error, 1)
	go func() {
		err := tls.Server(ownConn{far}, server.TLSConnPolicies.TLSConfig(caddyCtx)).HandshakeContext(ctx)
		_ = far.Close()
		failed <- err
	}()
	client := tls.Client(near, &tls.Config{ServerName: host, InsecureSkipVerify: true}) //nolint:gosec // it is this process
	err = client.HandshakeContext(ctx)
	if err != nil {
		_ = near.Close()
		return nil, errors.Join(<-failed, ctx.Err())
	}
	leaf := client.ConnectionState().PeerCertificates[0]
	return leaf, nil
}
