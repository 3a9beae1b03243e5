// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// authorityLife is long, because every agent trusts the authority that it joined with, and there is
// no way yet to replace it.
const authorityLife = 10 * 365 * 24 * time.Hour

// backdate lets machines whose clocks are behind use a new certificate at once.
const backdate = 5 * time.Minute

// Authority issues the certificates of one installation.
type Authority struct {
	root *Root
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a new installation.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return selfSigned(key, "husk", serial, now.Add(-backdate), now.Add(authorityLife))
}

func selfSigned(key *ecdsa.PrivateKey, name string, serial *big.Int, from, until time.Time) (*Authority, error) {
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("create the authority's certificate: %w", err)
	}
	return &Authority{newRoot(cert), key}, nil
}

// OpenAuthority reads what Certificate and PrivateKey returned.
func OpenAuthority(certificatePEM string, privateKey []byte) (*Authority, error) {
	root, err := ParseRoot(certificatePEM)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(privateKey)
	if err != nil {
		return nil, fmt.Errorf("the authority's private key is damaged: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(root.cert.PublicKey) {
		return nil, errors.New("the authority's private key does not match its certificate")
	}
	return &Authority{root, key}, nil
}

// Root returns the public part, which all others need.
func (a *Authority) Root() *Root { return a.root }

// PrivateKey returns the secret part, in PKCS #8.
func (a *Authority) PrivateKey() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// Root is the authority's certificate. It verifies what the authority has issued.
type Root struct {
	cert *x509.Certificate
	pool *x509.CertPool
}

func newRoot(cert *x509.Certificate) *Root {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Root{cert, pool}
}

// ParseRoot reads the authority's certificate from PEM.
func ParseRoot(certificatePEM string) (*Root, error) {
	cert, err := parseCertificate(certificatePEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	if !cert.IsCA {
		return nil, errors.New("the authority's certificate is not a CA certificate")
	}
	return newRoot(cert), nil
}

// PEM returns the certificate in PEM.
func (r *Root) PEM() string { return encodePEM(blockCertificate, r.cert.Raw) }

// Fingerprint returns the authority's fingerprint: the SHA-256 of its certificate, in hexadecimal
// digits.
func (r *Root) Fingerprint() string { return fingerprint(r.cert) }

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// verify checks that the authority issued a certificate, that it is valid now, and that it has the
// given name and use.
func (r *Root) verify(cert *x509.Certificate, name string, use x509.ExtKeyUsage) error {
	_, err := cert.Verify(x509.VerifyOptions{Roots: r.pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// newSerial makes a serial number of 128 random bits, so it is unique and cannot be guessed.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("create a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil // zero is not allowed
}
