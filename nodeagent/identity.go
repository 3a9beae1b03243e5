// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"husk/nodeagent/file"
	"husk/nodeagent/network"
	"husk/pki"
)

// identity is the node's identity. It is kept in the state directory, readable by root only.
type identity struct {
	NodeID         uuid.UUID `json:"nodeId"`
	CertificatePEM string    `json:"certificate"`
	KeyPEM         string    `json:"key"`
	AuthorityPEM   string    `json:"authority"`

	cert *tls.Certificate // the parsed certificate and key, after verification
	root *pki.Root
}

func identityFile(stateDir string) string { return filepath.Join(stateDir, "identity.json") }

// tlsFiles are where the node's ovn-controller finds its certificate. It notices new ones by itself.
func tlsFiles(stateDir string) network.TLSFiles {
	dir := filepath.Join(stateDir, "ovn")
	return network.TLSFiles{Key: filepath.Join(dir, "key.pem"), Certificate: filepath.Join(dir, "certificate.pem"), Authority: filepath.Join(dir, "authority.pem")}
}

// keepTLS writes the files for ovn-controller. It uses a pair only when both files are new.
func (i *identity) keepTLS(f network.TLSFiles) error {
	if err := os.MkdirAll(filepath.Dir(f.Key), 0o700); err != nil {
		return err
	}
	return errors.Join(file.Write(f.Authority, []byte(i.AuthorityPEM)), file.Write(f.Key, []byte(i.KeyPEM)), file.Write(f.Certificate, []byte(i.CertificatePEM)))
}

// loadIdentity reads the identity. If there is none, or it cannot be used, it joins with the token.
// A join whose response was lost is repeated with the same token.
func loadIdentity(ctx context.Context, cfg Config) (*identity, error) {
	file := identityFile(cfg.StateDir)
	id, err := readIdentity(file)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, fs.ErrNotExist) && cfg.JoinToken == "":
		return nil, errors.New("this node has not joined yet; start the agent with a join token (husk node join-token)")
	case errors.Is(err, fs.ErrNotExist):
	case cfg.JoinToken == "":
		return nil, fmt.Errorf("%w; start the agent with a join token that re-admits this node (husk node join-token NODE)", err)
	default:
		cfg.Log.Warn("joining again", "reason", err)
	}
	if id, err = join(ctx, cfg); err != nil {
		return nil, err
	}
	// Revisions are numbered per node, and this may be another node than the one whose revision was
	// stored.
	if err := os.Remove(seenFile(cfg.StateDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return id, id.keep(file)
}

// readIdentity reads an identity and verifies it. With an error, it also returns the readable part.
func readIdentity(file string) (*identity, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the agent's own state
	if err != nil {
		return nil, err
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	if err := id.verify(); err != nil {
		return &id, fmt.Errorf("%s is not valid: %w", file, err)
	}
	return &id, nil
}

// NeedsToken reports whether an agent with this state must join, and as which node it has joined
// before, if any.
func NeedsToken(stateDir string) (needed bool, node *uuid.UUID) {
	id, err := readIdentity(identityFile(stateDir))
	if id != nil && id.NodeID != uuid.Nil {
		node = &id.NodeID
	}
	return err != nil, node
}

// verify checks that the parts of the identity match each other and are valid now.
func (i *identity) verify() (err error) {
	if i.AuthorityPEM == "" {
		return errors.New("it was written by an older agent; its certificate was not issued by this installation's certificate authority")
	}
	if i.root, err = pki.ParseRoot(i.AuthorityPEM); err != nil {
		return err
	}
	i.cert, err = pki.NodeCertificate(i.root, i.NodeID.String(), i.CertificatePEM, i.KeyPEM)
	return err
}

// keep writes the identity. Key and certificate are in one file, so that a crash leaves either the
// old pair or the new one.
func (i *identity) keep(name string) error {
	raw, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return file.Write(name, raw)
}
