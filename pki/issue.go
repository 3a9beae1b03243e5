// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// serverName is the name in the certificate of every server, whatever the server's address is.
const serverName = "husk-server"

// nodeScheme begins the URI in a node's certificate that identifies the node. A server's certificate
// has no URI.
const nodeScheme = "husk:node:"

// ErrBadRequest is wrapped by errors of an invalid certificate request.
var ErrBadRequest = errors.New("the certificate request is not valid")

// Issued is a new certificate.
type Issued struct {
	Serial    string // in hexadecimal digits
	PEM       string
	ExpiresAt time.Time
}

// IssueNode issues a certificate for a node, by its id. It uses only the public key of the request
// and ignores the names in it.
func (a *Authority) IssueNode(node, requestPEM string, life time.Duration) (Issued, error) {
	der, err := decodePEM(blockRequest, requestPEM)
	if err != nil {
		return Issued{}, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return Issued{}, fmt.Errorf("%w: it cannot be parsed", ErrBadRequest)
	}
	if err := request.CheckSignature(); err != nil {
		return Issued{}, fmt.Errorf("%w: it is not signed with its own key", ErrBadRequest)
	}
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return Issued{}, fmt.Errorf("%w: its key is not ECDSA on P-256", ErrBadRequest)
	}
	cert, err := a.issue(node, &url.URL{Scheme: "husk", Opaque: strings.TrimPrefix(nodeScheme, "husk:") + node}, key, life)
	if err != nil {
		return Issued{}, fmt.Errorf("issue a certificate to node %s: %w", node, err)
	}
	return Issued{serialOf(cert), encodePEM(blockCertificate, cert.Raw), cert.NotAfter}, nil
}

// centralName is the name in the certificates of OVN's central part. A server or an agent of Husk accepts no peer with it.
const centralName = "ovn-central"

// KeyPair is a private key and the certificate for it, both in PEM.
type KeyPair struct{ Key, Certificate string }

// IssueCentral makes key and certificate of OVN's central part: of the databases, to which nodes connect with their own certificates.
func (a *Authority) IssueCentral(life time.Duration) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("create the key of OVN's central part: %w", err)
	}
	cert, err := a.issue(centralName, nil, &key.PublicKey, life)
	if err != nil {
		return KeyPair{}, fmt.Errorf("issue the certificate of OVN's central part: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return KeyPair{encodePEM(blockKey, der), encodePEM(blockCertificate, cert.Raw)}, err
}

// issueServer makes key and certificate of a server. Both stay in memory.
func (a *Authority) issueServer(life time.Duration) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create the server's key: %w", err)
	}
	cert, err := a.issue(serverName, nil, &key.PublicKey, life)
	if err != nil {
		return nil, fmt.Errorf("issue the server's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.root.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

func (a *Authority) issue(name string, uri *url.URL, key *ecdsa.PublicKey, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if !now.Before(a.root.cert.NotAfter) {
		return nil, fmt.Errorf("the installation's authority expired on %s", a.root.cert.NotAfter.Format(time.DateOnly))
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-backdate), NotAfter: earlier(now.Add(life), a.root.cert.NotAfter), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if uri != nil {
		template.URIs = []*url.URL{uri}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.root.cert, key, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func serialOf(cert *x509.Certificate) string { return fmt.Sprintf("%032x", cert.SerialNumber) }

// NewRequest makes a new key and a certificate request for it, both in PEM. The request contains no
// name, because the requester authenticates in another way.
func NewRequest() (keyPEM, requestPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("create a key: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("create a key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", "", fmt.Errorf("create a certificate request: %w", err)
	}
	return encodePEM(blockKey, keyDER), encodePEM(blockRequest, request), nil
}
