// SPDX-License-Identifier: Apache-2.0

// Package pebble runs pebble, a certificate authority with ACME for tests, and a name server for it.
package pebble

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Program builds pebble and returns its path. It must run below the root of the repository, and may need the network.
func Program(root string) (string, error) {
	out, err := exec.Command("go", "tool", "-modfile="+filepath.Join(root, "tools/go.mod"), "-n", "pebble").Output()
	return strings.TrimSpace(string(out)), err
}

// Config says where the authority is, and at which ports it checks hosts.
type Config struct {
	Addr                netip.Addr
	HTTPPort, HTTPSPort int
	Validity            time.Duration // of certificates
}

func (c Config) at(port uint16) string { return netip.AddrPortFrom(c.Addr, port).String() }

// Authority is what clients need to know of the authority.
type Authority struct {
	Directory string // URL
	CAFile    string // certificate of its own server
	dir       string
	config    Config
}

// Command prepares the authority, in a directory of the test, and returns the command that runs it.
func Command(program, dir string, cfg Config) (*exec.Cmd, *Authority, error) {
	a := &Authority{Directory: "https://" + cfg.at(14000) + "/dir", CAFile: filepath.Join(dir, "cert.pem"), dir: dir, config: cfg}
	certificate, key, err := selfSigned(cfg.Addr)
	if err != nil {
		return nil, nil, err
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": cfg.at(14000), "managementListenAddress": cfg.at(15001),
		"certificate": a.CAFile, "privateKey": filepath.Join(dir, "key.pem"), "httpPort": cfg.HTTPPort, "tlsPort": cfg.HTTPSPort, "ocspResponderURL": "",
		"externalAccountBindingRequired": false, "retryAfter": map[string]any{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(cfg.Validity.Seconds())}},
	}})
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "pebble.json")
	err = errors.Join(os.WriteFile(a.CAFile, certificate, 0o644), os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600), os.WriteFile(file, config, 0o600)) //nolint:gosec // a certificate
	cmd := exec.Command(program, "-config", file, "-dnsserver", cfg.at(53))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	return cmd, a, err
}

// Root returns the certificate that browsers must trust. It fails until the authority listens. The transport may be nil.
func (a *Authority) Root(transport *http.Transport) (*x509.Certificate, error) {
	own, err := os.ReadFile(a.CAFile)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(own)
	if transport == nil {
		transport = &http.Transport{}
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + a.config.at(15001) + "/roots/0")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("pebble has no root certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Answer answers all queries for names on a connection with one address, until the connection is closed.
func Answer(conn net.PacketConn, with netip.Addr) {
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: with.AsSlice()}}
		}
		_ = w.WriteMsg(m)
	})}
	_ = server.ActivateAndServe()
}

func selfSigned(addr netip.Addr) (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{addr.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	private, err = x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), err
}
