// SPDX-License-Identifier: Apache-2.0

// Package ingress tests HTTPS to a real pod with a browser. All tests share one stack, whose certificates come from pebble.
package ingress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/pebble"
	"husk/test/stack"
)

// programVar has the path of pebble. It is built where the network is, before the namespaces of the tests.
const programVar = "HUSK_TEST_PEBBLE"

func TestMain(m *testing.M) {
	if os.Getenv(programVar) == "" {
		program, err := pebble.Program(stack.Repository())
		if err == nil {
			err = os.Setenv(programVar, program)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "build pebble:", err)
			os.Exit(1)
		}
	}
	stack.Main(m)
}

var loopback = netip.MustParseAddr("127.0.0.1")

// authority starts pebble, and lets the stack use it, which must not have been started.
func authority(t *testing.T) *x509.Certificate {
	t.Helper()
	names, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	go pebble.Answer(names, loopback)
	t.Cleanup(func() { _ = names.Close() })
	cmd, ca, err := pebble.Command(os.Getenv(programVar), t.TempDir(), pebble.Config{Addr: loopback, HTTPPort: 8180, HTTPSPort: 8543, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Setenv("HUSKD_ACME_DIRECTORY", ca.Directory)
	t.Setenv("HUSKD_ACME_CA", ca.CAFile)
	var root *x509.Certificate
	stack.Eventually(t, 20*time.Second, func() (err error) { root, err = ca.Root(nil); return err })
	return root
}

// TestABrowserOpensAPod serves a page of nginx in a virtual machine at a name, with a certificate from pebble.
func TestABrowserOpensAPod(t *testing.T) {
	root := authority(t)
	s, tn := stack.Get(t), stack.NewTenant(t)
	pod := tn.Create(t, "web", func(spec *openapi.PodSpec) {
		spec.Containers = []openapi.Container{{Name: "main", Image: tn.ImportImage(t, "nginx")}}
	})
	if _, err := tn.API.Pods.Update(t.Context(), pod.ID, openapi.PodUpdate{Labels: &openapi.LabelChanges{"app": new("web")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tn.API.Services.Create(t.Context(), openapi.ServiceCreate{Name: "web", Selector: "app=web", Ports: &openapi.ServicePorts{{Port: 80}}}); err != nil {
		t.Fatal(err)
	}
	const host = "www.example.com"
	made, err := tn.API.Ingresses.Create(t.Context(), openapi.IngressCreate{
		Name: "web", Rules: openapi.IngressRules{{Host: host, Paths: []openapi.IngressPath{{Service: "web", Port: 80}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for change, err := range tn.API.Ingresses.Watch(ctx, client.WatchOptions{}) {
		if err != nil {
			t.Fatalf("the host gets no certificate: %v", err)
		}
		if hosts := change.Object.Status.Hosts; change.Type != client.Synced && len(hosts) == 1 && hosts[0].State == openapi.IngressHostStateReady {
			break
		}
	}

	at := s.Env["HUSK_INGRESS"]
	roots := x509.NewCertPool()
	roots.AddCert(root)
	browser := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, at)
		},
	}}
	_, port, _ := net.SplitHostPort(at)
	url := "https://" + host + ":" + port + "/"
	var issuer *x509.Certificate // one that the server sends
	stack.Eventually(t, time.Minute, func() error {
		r, err := browser.Get(url)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err == nil && (r.StatusCode != http.StatusOK || r.ProtoMajor != 2 || !strings.Contains(string(text), "nginx")) {
			err = fmt.Errorf("the response is %s %s: %s", r.Proto, r.Status, text)
		}
		issuer = r.TLS.PeerCertificates[1]
		return err
	})
	if page := open(t, url, host, at, issuer); !strings.Contains(page, "nginx") {
		t.Errorf("the browser shows %s", page)
	}
	stack.Eventually(t, 10*time.Second, func() error {
		all, err := tn.API.Ingresses.Requests(t.Context(), made.ID, 0, 100)
		if err != nil {
			return err
		}
		for _, r := range all {
			if strings.Contains(r.Agent, "Chrome") && r.Status == http.StatusOK {
				return nil
			}
		}
		return fmt.Errorf("the requests are %+v", all)
	})
}

// open opens a page in Chromium, which finds the host at an address and trusts a certificate authority, and returns the document.
func open(t *testing.T, url, host, at string, authority *x509.Certificate) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	key := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
	address, _, _ := net.SplitHostPort(at)
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"),
		"--host-resolver-rules=MAP "+host+" "+address, "--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(key[:]), "--dump-dom", url)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}
