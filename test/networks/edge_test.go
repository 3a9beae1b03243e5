// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"

	"husk/ingress/proxy"
	"husk/store"
	"husk/store/edge"
)

// edgeEnv has the configuration of an ingress process, which the test binary becomes.
const edgeEnv = "HUSK_TEST_EDGE"

// edgeConfig is what an ingress process gets.
type edgeConfig struct {
	URL    string
	ACME   proxy.ACME
	Limits proxy.Limits
}

// beEdge runs an ingress process, if the test started this process for that.
func beEdge() {
	raw := os.Getenv(edgeEnv)
	if raw == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := func() error {
		var cfg edgeConfig
		if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
			return err
		}
		log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		st, err := edge.Open(ctx, edge.Config{URL: cfg.URL, Role: store.RoleIngress, Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}, Log: log})
		if err != nil {
			return err
		}
		defer st.Close()
		return proxy.Run(ctx, proxy.Config{Store: st, Log: log, HTTP: ":80", HTTPS: ":443", PublicPort: 443, ACME: cfg.ACME, Limits: cfg.Limits})
	}()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startIn starts a program in a network namespace. stop ends it and waits; the test does so at its end.
func startIn(t *testing.T, ns string, cmd *exec.Cmd) (stop func(syscall.Signal)) {
	t.Helper()
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	must(t, within(ns, cmd.Start))
	ended := make(chan struct{})
	var mu sync.Mutex
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func(s syscall.Signal) {
		mu.Lock()
		defer mu.Unlock()
		_ = cmd.Process.Signal(s)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s did not end", cmd.Path)
		}
	}
	t.Cleanup(func() {
		stop(syscall.SIGTERM)
		if t.Failed() {
			text := log.String()
			t.Logf("%s says:\n%s", filepath.Base(cmd.Path), text[max(0, len(text)-8000):])
		}
	})
	return stop
}

// socketURL returns a URL of the test's database by its socket, which also processes in other network namespaces reach.
func (l *lab) socketURL() string {
	l.t.Helper()
	conn, err := pgx.Connect(l.t.Context(), l.url("postgres")) // only the superuser sees the setting
	must(l.t, err)
	defer conn.Close(context.WithoutCancel(l.t.Context()))
	var dir string
	must(l.t, conn.QueryRow(l.t.Context(), "SELECT setting FROM pg_settings WHERE name = 'unix_socket_directories'").Scan(&dir))
	u, err := url.Parse(l.url(store.RoleIngress))
	must(l.t, err)
	query := u.Query()
	query.Set("host", dir)
	query.Set("port", u.Port())
	u.Host, u.RawQuery = "", query.Encode()
	return u.String()
}

// edge starts an ingress process on a machine for it.
func (l *lab) edge(t *testing.T, o *outside, acme proxy.ACME, limits proxy.Limits) (stop func(syscall.Signal)) {
	t.Helper()
	raw, err := json.Marshal(edgeConfig{l.socketURL(), acme, limits})
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), edgeEnv+"="+string(raw))
	stop = startIn(t, o.ns, cmd)
	eventually(t, 20*time.Second, "the ingress process listens", func() error {
		return within(o.ns, func() error {
			c, err := net.DialTimeout("tcp4", "127.0.0.1:443", time.Second)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	})
	return stop
}

// authority is a certificate authority with ACME, pebble, on a host outside, which also answers all queries for names with one address.
type authority struct {
	acme  proxy.ACME
	roots *x509.CertPool
	root  *x509.Certificate
}

func (l *lab) authority(t *testing.T, o *outside, validity time.Duration, names netip.Addr) authority {
	t.Helper()
	dir := t.TempDir()
	o.answer(t, names)

	ownCertificate, ownKey := selfSigned(t, o.addr) // of the authority's own server
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certificate, ownCertificate, 0o600))
	must(t, os.WriteFile(key, ownKey, 0o600))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": o.addr.String() + ":14000", "managementListenAddress": o.addr.String() + ":15000", "certificate": certificate, "privateKey": key,
		"httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": map[string]any{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(validity.Seconds())}},
	}})
	must(t, err)
	file := filepath.Join(dir, "pebble.json")
	must(t, os.WriteFile(file, config, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../tools/go.mod", "-n", "pebble").Output()
	must(t, err)
	cmd := exec.Command(strings.TrimSpace(string(out)), "-config", file, "-dnsserver", o.addr.String()+":53")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	startIn(t, o.ns, cmd)

	a := authority{acme: proxy.ACME{Directory: "https://" + o.addr.String() + ":14000/dir", RootsFile: certificate, Email: "operator@example.com"}, roots: x509.NewCertPool()}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ownCertificate)
	client := o.client(&tls.Config{RootCAs: trusted}, nil)
	eventually(t, 20*time.Second, "the certificate authority answers", func() error {
		r, err := client.Get("https://" + o.addr.String() + ":15000/roots/0")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			return errors.New("the authority has no root")
		}
		if a.root, err = x509.ParseCertificate(block.Bytes); err == nil {
			a.roots.AddCert(a.root)
		}
		return err
	})
	return a
}

func selfSigned(t *testing.T, addr netip.Addr) (certificate, private []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{addr.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err = x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// answer answers all queries for names with one address.
func (o *outside) answer(t *testing.T, with netip.Addr) {
	t.Helper()
	var conn net.PacketConn
	must(t, within(o.ns, func() (err error) {
		conn, err = net.ListenPacket("udp4", o.addr.String()+":53")
		return err
	}))
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: with.AsSlice()}}
		}
		_ = w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
}

// client returns an HTTP client on the host. All names lead to one address, if there is one.
func (o *outside) client(cfg *tls.Config, to *netip.Addr) *http.Client {
	return &http.Client{
		Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DialContext: o.dialer(to)},
	}
}

func (o *outside) dialer(to *netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (c net.Conn, err error) {
		if to != nil {
			_, port, _ := net.SplitHostPort(address)
			address = net.JoinHostPort(to.String(), port)
		}
		err = within(o.ns, func() error {
			c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp4", address)
			return err
		})
		return c, err
	}
}
