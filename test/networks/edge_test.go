// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/ingress/proxy"
	"husk/store"
	"husk/store/edge"
	"husk/test/pebble"
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

// authority is a certificate authority with ACME on a host outside, which also answers all queries for names with one address.
type authority struct {
	acme  proxy.ACME
	roots *x509.CertPool
}

func (l *lab) authority(t *testing.T, o *outside, validity time.Duration, names netip.Addr) (a authority) {
	t.Helper()
	var conn net.PacketConn
	must(t, within(o.ns, func() (err error) {
		conn, err = net.ListenPacket("udp4", o.addr.String()+":53")
		return err
	}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pebble.Answer(conn, names)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	program, err := pebble.Program("../..")
	must(t, err)
	cmd, ca, err := pebble.Command(program, t.TempDir(), pebble.Config{Addr: o.addr, HTTPPort: 80, HTTPSPort: 443, Validity: validity})
	must(t, err)
	startIn(t, o.ns, cmd)
	a = authority{acme: proxy.ACME{Directory: ca.Directory, RootsFile: ca.CAFile, Email: "operator@example.com"}, roots: x509.NewCertPool()}
	eventually(t, 20*time.Second, "the certificate authority answers", func() error {
		root, err := ca.Root(&http.Transport{DialContext: o.dialer(nil)})
		if err == nil {
			a.roots.AddCert(root)
		}
		return err
	})
	return a
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
