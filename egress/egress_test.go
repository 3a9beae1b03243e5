// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnlyPublicAddressesAreAllowed(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"1.1.1.1": "", "9.255.255.255": "", "11.0.0.0": "", "100.63.255.255": "", "100.128.0.0": "", "172.15.255.255": "", "172.32.0.0": "",
		"192.167.255.255": "", "198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "", "2606:4700::1111": "", "2a00:1450::1": "",
		"2001:200::1": "", "::ffff:1.1.1.1": "",

		"0.0.0.0": "unspecified", "0.1.2.3": "this network", "10.0.0.5": "RFC 1918", "10.255.255.255": "RFC 1918",
		"100.64.0.1": "RFC 6598", "100.127.255.255": "RFC 6598", "127.0.0.1": "loopback", "127.255.255.254": "loopback",
		"169.254.169.254": "link-local", "172.16.0.1": "RFC 1918", "172.31.255.255": "RFC 1918", "192.0.0.170": "protocols",
		"192.0.2.1": "documentation", "192.88.99.1": "6to4", "192.168.1.1": "RFC 1918", "198.18.0.1": "benchmarks",
		"198.19.255.255": "benchmarks", "198.51.100.1": "documentation", "203.0.113.1": "documentation", "224.0.0.1": "multicast",
		"239.255.255.255": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "broadcast",

		"::": "unspecified", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "RFC 1918",
		"::ffff:169.254.169.254": "link-local", "::127.0.0.1": "not public", "64:ff9b::7f00:1": "NAT64", "64:ff9b:1::a00:1": "NAT64",
		"100::1": "not public", "2001::1": "Teredo", "2001:2::1": "benchmarks", "2001:20::1": "protocols", "2001:db8::1": "documentation",
		"2002:7f00:1::": "6to4", "3fff::1": "documentation", "4000::1": "not public", "5f00::1": "not public", "fc00::1": "RFC 4193",
		"fd00:ec2::254": "RFC 4193", "fe80::1": "link-local", "fe80::1%eth0": "link-local", "fec0::1": "not public", "ff02::1": "multicast",
	} {
		got := Policy{}.refusal(netip.MustParseAddr(addr), false)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

func TestOperatorsCanAllowAddressRanges(t *testing.T) {
	t.Parallel()
	p, err := Parse([]string{"10.20.0.0/16", " ::1/128", "fe80::/10"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		addr  string
		plain bool
		want  string
	}{
		{"10.20.30.40", false, ""},
		{"10.20.30.40", true, ""},
		{"::ffff:10.20.0.1", true, ""},
		{"::1", true, ""},
		{"fe80::1%eth0", true, ""},
		{"10.21.0.1", false, "RFC 1918"},
		{"127.0.0.1", true, "loopback"},
		{"1.1.1.1", false, ""},
		{"1.1.1.1", true, "over TLS"},
	} {
		if got := p.refusal(netip.MustParseAddr(tt.addr), tt.plain); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s, plain %t: %q, want %q", tt.addr, tt.plain, got, tt.want)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.1": "not an address range", "registry.example.com": "not an address range", "": "not an address range", "10.0.0.1/8": "write 10.0.0.0/8",
		"::ffff:10.0.0.0/104": "IPv4 written as IPv6", "10.0.0.0/33": "not an address range",
	} {
		if _, err := Parse([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// startServer starts a server over TLS or plain HTTP.
func startServer(t *testing.T, secure bool, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// client returns a client with the policy that trusts the servers' certificates.
func client(t *testing.T, p Policy, servers ...*httptest.Server) *http.Client {
	t.Helper()
	transport := p.Transport()
	for _, s := range servers {
		if s.TLS != nil {
			base, ok := s.Client().Transport.(*http.Transport)
			if !ok {
				t.Fatal("the server's client has another transport")
			}
			transport.secure.TLSClientConfig = base.TLSClientConfig.Clone()
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), nil
}

func loopback(t *testing.T, blocks ...string) Policy {
	t.Helper()
	p, err := Parse(blocks)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestForbiddenServersAreNotReached(t *testing.T) {
	t.Parallel()
	unreached := func(http.ResponseWriter, *http.Request) { t.Error("the server was reached") }
	plain, secure := startServer(t, false, unreached), startServer(t, true, unreached)
	_, port, _ := strings.Cut(plain.Listener.Addr().String(), ":")
	for url, obvious := range map[string]bool{plain.URL: true, secure.URL: true, "http://localhost:" + port: true, "https://[::ffff:127.0.0.1]:" + port: true} {
		_, err := get(t, client(t, Policy{}, secure), url)
		refused, ok := errors.AsType[*RefusedError](err)
		if !ok {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !refused.Addr.Unmap().IsLoopback() || refused.Obvious() != obvious || !strings.Contains(refused.Error(), "--allow-egress") {
			t.Errorf("%s: %#v", url, refused)
		}
	}
	if (&RefusedError{Host: "registry.example.com"}).Obvious() {
		t.Error("the refusal of a name reveals the address that it resolves to")
	}
}

func TestAnAllowedServerIsReachedByAddressAndByName(t *testing.T) {
	t.Parallel()
	hello := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }
	plain, secure := startServer(t, false, hello), startServer(t, true, hello)
	_, port, _ := strings.Cut(plain.Listener.Addr().String(), ":")
	for _, url := range []string{plain.URL, secure.URL, "http://localhost:" + port} {
		if body, err := get(t, client(t, loopback(t, "127.0.0.0/8"), secure), url); body != "hello" || err != nil {
			t.Errorf("%s: %q, %v", url, body, err)
		}
	}
}

func TestRedirectsAreCheckedToo(t *testing.T) {
	t.Parallel()
	p := loopback(t, "127.0.0.1/32")
	inside := startServer(t, false, func(http.ResponseWriter, *http.Request) { t.Error("the forbidden server was reached") })
	_, port, _ := strings.Cut(inside.Listener.Addr().String(), ":")
	chain := func(w http.ResponseWriter, r *http.Request) {
		switch left := strings.TrimPrefix(r.URL.Path, "/"); left {
		case "inside":
			http.Redirect(w, r, "http://127.0.0.2:"+port, http.StatusFound)
		case "down":
			http.Redirect(w, r, inside.URL, http.StatusFound)
		case "file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "":
			io.WriteString(w, "the end")
		default:
			http.Redirect(w, r, "/"+left[1:], http.StatusFound)
		}
	}
	plain, secure := startServer(t, false, chain), startServer(t, true, chain)
	c := client(t, p, secure)
	for _, from := range []string{plain.URL, secure.URL} {
		if body, err := get(t, c, from+"/xxxxx"); body != "the end" || err != nil {
			t.Errorf("five redirects: %q, %v", body, err)
		}
		if _, err := get(t, c, from+"/xxxxxx"); !errors.Is(err, ErrRedirect) {
			t.Errorf("six redirects: %v", err)
		}
		if _, err := get(t, c, from+"/file"); err == nil {
			t.Error("a file was read")
		}
	}
	_, err := get(t, c, plain.URL+"/inside")
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		t.Fatalf("to another address: %v", err)
	}
	want := &RefusedError{Host: "127.0.0.2", Addr: netip.MustParseAddr("127.0.0.2"), Why: "a loopback address"}
	if diff := cmp.Diff(want, refused, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("to another address (-want +got):\n%s", diff)
	}
	if _, err := get(t, c, secure.URL+"/down"); !errors.Is(err, ErrRedirect) {
		t.Errorf("from https to http: %v", err)
	}
}

func TestTheProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := startServer(t, false, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was used") })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	c := client(t, loopback(t, "127.0.0.0/8"))
	if _, err := get(t, c, "http://10.0.0.5/"); err == nil {
		t.Error("a private address was reached")
	} else if _, ok := errors.AsType[*RefusedError](err); !ok {
		t.Errorf("got %v", err)
	}
}
