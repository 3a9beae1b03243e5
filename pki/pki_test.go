// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	nodeA = "6f1c1e0e-0000-4000-8000-00000000000a"
	nodeB = "6f1c1e0e-0000-4000-8000-00000000000b"
)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// node returns the holder of a node's agent, with a certificate of this authority.
func node(t *testing.T, a *Authority, id string, life time.Duration) *NodeHolder {
	t.Helper()
	key, request, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.IssueNode(id, request, life)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(issued.PEM), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	h := &NodeHolder{}
	h.Replace(&cert)
	return h
}

func server(t *testing.T, a *Authority) *ServerHolder {
	t.Helper()
	h, err := NewServerHolder(a)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// shake connects a client to a server over TCP and sends a byte in each direction, because in TLS
// 1.3 a client notices a refusal only when it reads. It returns the server's connection state.
func shake(t *testing.T, server, client *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	type end struct {
		state tls.ConnectionState
		err   error
	}
	served := make(chan end, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- end{err: err}
			return
		}
		defer conn.Close()
		c := tls.Server(conn, server)
		err = c.Handshake()
		if err == nil {
			_, err = io.CopyN(c, c, 1)
		}
		served <- end{c.ConnectionState(), err}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	_, err = c.Write([]byte{1})
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	conn.Close()
	s := <-served
	return &s.state, errors.Join(err, s.err)
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted: %s", what)
	}
}

func TestServersAndAgentsOfOneInstallationConnect(t *testing.T) {
	t.Parallel()
	a := authority(t)
	agent, srv := node(t, a, nodeA, time.Hour), server(t, a)
	state, err := shake(t, ServerListener(a.Root(), srv), AgentClient(a.Root(), agent))
	if err != nil {
		t.Fatal(err)
	}
	n, err := PeerNode(state)
	if err != nil || n.ID != nodeA || n.Serial != serialOf(agent.current.Load().Leaf) || len(n.Serial) != 32 {
		t.Errorf("the server sees %+v: %v", n, err)
	}
	if _, err := shake(t, AgentListener(a.Root(), agent), ServerClient(a.Root(), srv, nodeA)); err != nil {
		t.Error(err)
	}
}

func TestAnAgentTellsServersAndNodesApart(t *testing.T) {
	t.Parallel()
	a := authority(t)
	agent := node(t, a, nodeA, time.Hour)
	state, err := shake(t, AgentListener(a.Root(), agent), ServerClient(a.Root(), node(t, a, nodeB, time.Hour), nodeA))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := PeerNode(state); err != nil || n.ID != nodeB || PeerIsServer(state) {
		t.Errorf("another node is %+v, %v, and a server: %t", n, err, PeerIsServer(state))
	}
	state, err = shake(t, AgentListener(a.Root(), agent), ServerClient(a.Root(), server(t, a), nodeA))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := PeerNode(state); err == nil || !PeerIsServer(state) {
		t.Errorf("a server is the node %+v, and a server: %t", n, PeerIsServer(state))
	}
	if PeerIsServer(nil) || PeerIsServer(&tls.ConnectionState{}) {
		t.Error("nobody is a server")
	}
}

func TestWithoutANodeCertificateThereIsNoNode(t *testing.T) {
	t.Parallel()
	a := authority(t)
	srv := server(t, a)
	state, err := shake(t, ServerListener(a.Root(), srv), JoinClient(a.Root().Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PeerNode(state); !errors.Is(err, ErrNoNode) {
		t.Errorf("the error is %v", err)
	}
	state, err = shake(t, ServerListener(a.Root(), srv), client(a.Root(), srv, serverName))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := PeerNode(state); !errors.Is(err, ErrNoNode) {
		t.Errorf("a server's certificate is accepted for the node %+v: %v", n, err)
	}
	if _, err := PeerNode(nil); !errors.Is(err, ErrNoNode) {
		t.Errorf("without TLS the error is %v", err)
	}
	unverified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{node(t, a, nodeA, time.Hour).current.Load().Leaf}}
	if _, err := PeerNode(unverified); !errors.Is(err, ErrNoNode) {
		t.Errorf("a certificate that was not verified: %v", err)
	}
}

func TestCertificatesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	root, srv := a.Root(), server(t, a)
	agent := node(t, a, nodeA, time.Hour)
	refused := func(what string, server, client *tls.Config) {
		t.Helper()
		_, err := shake(t, server, client)
		wantRefused(t, what, err)
	}
	refused("a node of another authority, by the server", ServerListener(root, srv), AgentClient(root, node(t, other, nodeA, time.Hour)))
	refused("an expired node certificate, by the server", ServerListener(root, srv), AgentClient(root, node(t, a, nodeA, -time.Second)))
	refused("a server of another authority, by an agent that connects to it", ServerListener(other.Root(), server(t, other)), AgentClient(root, agent))
	refused("a node that acts as the server, by an agent that connects to it", ServerListener(root, node(t, a, nodeB, time.Hour)), AgentClient(root, agent))
	refused("a server of another authority, by an agent that it connects to", AgentListener(root, agent), ServerClient(root, server(t, other), nodeA))
	refused("a node of another authority, by another node's agent", AgentListener(root, agent), ServerClient(root, node(t, other, nodeB, time.Hour), nodeA))
	refused("an expired node certificate, by another node's agent", AgentListener(root, agent), ServerClient(root, node(t, a, nodeB, -time.Second), nodeA))
	refused("a node other than the requested one, by a server that connects to it", AgentListener(root, agent), ServerClient(root, srv, nodeB))
	refused("an expired node certificate, by a server that connects to the node", AgentListener(root, node(t, a, nodeA, -time.Second)), ServerClient(root, srv, nodeA))
	anonymous := ServerClient(root, srv, nodeA)
	anonymous.GetClientCertificate = nil
	refused("a client without a certificate, by the agent", AgentListener(root, agent), anonymous)
	old := ServerClient(root, srv, nodeA)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	refused("TLS 1.2, by the agent", AgentListener(root, agent), old)
}

func TestAJoiningAgentVerifiesTheServerByTheToken(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	token := NewJoinToken("secret", a.Root())
	secret, fingerprint, err := SplitJoinToken(token)
	if err != nil || secret != "secret" || fingerprint != a.Root().Fingerprint() {
		t.Fatalf("%s is %q and %q: %v", token, secret, fingerprint, err)
	}
	_, err = shake(t, ServerListener(other.Root(), server(t, other)), JoinClient(fingerprint))
	if !errors.Is(err, ErrOtherInstallation) {
		t.Errorf("another installation's server: %v", err)
	}
	// The certificate of the right authority is public. The agent must refuse an attacker that
	// sends it together with its own certificate.
	imposter, err := other.issueServer(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	imposter.Certificate = [][]byte{imposter.Certificate[0], a.Root().cert.Raw}
	h := &NodeHolder{}
	h.Replace(imposter)
	_, err = shake(t, ServerListener(other.Root(), h), JoinClient(fingerprint))
	wantRefused(t, "a stranger's certificate with the right authority", err)
	thief := node(t, a, nodeB, time.Hour)
	cert := *thief.current.Load()
	cert.Certificate = append(cert.Certificate, a.Root().cert.Raw)
	thief.Replace(&cert)
	_, err = shake(t, ServerListener(a.Root(), thief), JoinClient(fingerprint))
	wantRefused(t, "a node that acts as the server", err)
	for _, bad := range []string{"", "secret", "secret.", "." + fingerprint, "secret." + fingerprint[1:], "secret.x" + fingerprint[1:]} {
		if _, _, err := SplitJoinToken(bad); err == nil {
			t.Errorf("%q is accepted as a join token", bad)
		}
	}
}

func TestACertificateTakesOnlyTheKeyFromItsRequest(t *testing.T) {
	t.Parallel()
	a := authority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := url.Parse("husk:node:" + nodeB)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: serverName, Organization: []string{"evil"}}, DNSNames: []string{serverName, nodeB, "example.com"},
		URIs: []*url.URL{foreign}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, EmailAddresses: []string{"root@example.com"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.IssueNode(nodeA, encodePEM(blockRequest, der), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(issued.PEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.String() != "CN="+nodeA || len(cert.DNSNames) != 1 || cert.DNSNames[0] != nodeA || len(cert.URIs) != 1 ||
		cert.URIs[0].String() != "husk:node:"+nodeA || len(cert.IPAddresses)+len(cert.EmailAddresses) > 0 || cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		t.Errorf("the certificate is for %s, %v, %v, %v, %v", cert.Subject, cert.DNSNames, cert.URIs, cert.IPAddresses, cert.EmailAddresses)
	}
	if left := time.Until(issued.ExpiresAt); left > time.Hour || left < 59*time.Minute || !issued.ExpiresAt.Equal(cert.NotAfter) {
		t.Errorf("the certificate is valid for %s", left)
	}
	if early := time.Since(cert.NotBefore); early < 4*time.Minute || early > 6*time.Minute {
		t.Errorf("the certificate is valid since %s", early)
	}
}

func TestAnUnusableRequestIsRefused(t *testing.T) {
	t.Parallel()
	a := authority(t)
	_, good, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	der, err := decodePEM(blockRequest, good)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte{}, der...)
	forged[len(forged)-1] ^= 1
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, request := range map[string]string{
		"nothing":              "",
		"a text":               "hello",
		"a certificate":        a.Root().PEM(),
		"two requests":         good + good,
		"a damaged one":        encodePEM(blockRequest, der[:20]),
		"another's signature":  encodePEM(blockRequest, forged),
		"an RSA key's request": encodePEM(blockRequest, rsaDER),
	} {
		if _, err := a.IssueNode(nodeA, request, time.Hour); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAStoredAuthorityIsTheSame(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	key, err := a.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(a.Root().PEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, ServerListener(again.Root(), server(t, again)), AgentClient(a.Root(), node(t, a, nodeA, time.Hour))); err != nil {
		t.Error(err)
	}
	if _, err := OpenAuthority(other.Root().PEM(), key); err == nil {
		t.Error("an authority is opened with another authority's key")
	}
	if _, err := OpenAuthority(a.Root().PEM(), key[1:]); err == nil {
		t.Error("an authority is opened with a damaged key")
	}
	issued, err := a.issueServer(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRoot(encodePEM(blockCertificate, issued.Leaf.Raw)); err == nil {
		t.Error("a server's certificate is accepted as an authority")
	}
}

func TestACertificateMustMatchItsKeyAndItsNode(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	key, request, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	otherKey, _, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *Authority, node string, life time.Duration) string {
		t.Helper()
		issued, err := a.IssueNode(node, request, life)
		if err != nil {
			t.Fatal(err)
		}
		return issued.PEM
	}
	if _, err := NodeCertificate(a.Root(), nodeA, issue(a, nodeA, time.Hour), key); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct{ cert, key string }{
		"another key":               {issue(a, nodeA, time.Hour), otherKey},
		"another node":              {issue(a, nodeB, time.Hour), key},
		"another authority":         {issue(other, nodeA, time.Hour), key},
		"one that has expired":      {issue(a, nodeA, -time.Second), key},
		"something else altogether": {"", key},
	} {
		if _, err := NodeCertificate(a.Root(), nodeA, c.cert, c.key); err == nil || !strings.Contains(err.Error(), nodeA) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAReplacedCertificateIsPresentedFromTheNextConnectionOn(t *testing.T) {
	t.Parallel()
	a := authority(t)
	srv := server(t, a)
	agent := node(t, a, nodeA, time.Hour)
	listener, client := ServerListener(a.Root(), srv), AgentClient(a.Root(), agent)
	seen := func() string {
		t.Helper()
		state, err := shake(t, listener, client)
		if err != nil {
			t.Fatal(err)
		}
		n, err := PeerNode(state)
		if err != nil {
			t.Fatal(err)
		}
		return n.Serial
	}
	first := seen()
	agent.Replace(node(t, a, nodeA, time.Hour).current.Load())
	if second := seen(); second == first {
		t.Error("the old certificate is still presented")
	}
	if _, err := (&NodeHolder{}).certificate(); err == nil {
		t.Error("an empty holder has a certificate")
	}
}

func TestACertificateIsRenewedInItsLastThird(t *testing.T) {
	t.Parallel()
	a := authority(t)
	c := node(t, a, nodeA, 30*24*time.Hour).current.Load()
	if days := time.Until(RenewAt(c)).Hours() / 24; days < 19.9 || days > 20.1 {
		t.Errorf("a certificate of 30 days is renewed after %.2f", days)
	}
	h := server(t, a)
	first, err := h.certificate()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.certificate(); err != nil || again != first {
		t.Errorf("a server creates a new certificate for each connection: %v", err)
	}
	if h.current, err = a.issueServer(-time.Second); err != nil {
		t.Fatal(err)
	}
	if fresh, err := h.certificate(); err != nil || !time.Now().Before(RenewAt(fresh)) {
		t.Errorf("a server still uses an expired certificate: %v", err)
	}
}
