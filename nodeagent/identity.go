package nodeagent

import (
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
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
)

// identity is who the node is: kept in the state directory, readable by root only.
type identity struct {
	NodeID         uuid.UUID `json:"nodeId"`
	ClientID       uuid.UUID `json:"clientId"`
	ClientSecret   string    `json:"clientSecret"`
	CertificatePEM string    `json:"certificate"`
	KeyPEM         string    `json:"key"`
}

// certificateLife is long: the certificate is pinned by the server, not trusted by an authority, and a new one is reported by the
// next heartbeat.
const certificateLife = 10 * 365 * 24 * time.Hour

// loadIdentity reads the identity, or joins with the token when there is none yet. A join whose answer was lost is repeated with the
// same token.
func loadIdentity(ctx context.Context, cfg Config) (*identity, error) {
	file := filepath.Join(cfg.StateDir, "identity.json")
	raw, err := os.ReadFile(file) //nolint:gosec // our own state
	if err == nil {
		var id identity
		if err := json.Unmarshal(raw, &id); err != nil {
			return nil, fmt.Errorf("%s is damaged; remove it and join anew: %w", file, err)
		}
		return &id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if cfg.JoinToken == "" {
		return nil, errors.New("this node has not joined yet; give it a join token (POST /v1/admin/join-tokens)")
	}
	id, err := join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if id.CertificatePEM, id.KeyPEM, err = selfSigned(id.NodeID); err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if raw, err = json.Marshal(id); err != nil {
		return nil, err
	}
	return id, writeFile(file, raw)
}

func join(ctx context.Context, cfg Config) (*identity, error) {
	client, err := openapi.NewClientWithResponses(cfg.ServerURL)
	if err != nil {
		return nil, fmt.Errorf("server url: %w", err)
	}
	var wait backoff
	for {
		resp, err := client.RegisterNodeWithResponse(ctx, openapi.NodeRegistration{Token: cfg.JoinToken, Name: cfg.NodeName})
		switch {
		case err == nil && resp.JSON201 != nil:
			c := resp.JSON201
			return &identity{NodeID: c.NodeID, ClientID: c.ClientID, ClientSecret: c.ClientSecret}, nil
		case err == nil && resp.StatusCode() < 500:
			return nil, fmt.Errorf("join as %q: %s: %s", cfg.NodeName, resp.Status(), resp.Body)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		cfg.Log.Info("the server does not answer yet", "server", cfg.ServerURL, "error", err)
		wait.sleep(ctx)
	}
}

func selfSigned(node uuid.UUID) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: node.String()}, DNSNames: []string{node.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})), nil
}

func (i *identity) tlsCertificate() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(i.CertificatePEM), []byte(i.KeyPEM))
}

// writeFile replaces a file so that after a crash it is the old or the new one, whole.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
