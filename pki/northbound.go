// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"math/big"
)

// Northbound returns the authority that OVN's northbound database trusts. The database has no roles: who connects to it can change every network.
// So it must not accept the certificates of nodes. The authority is derived from this one, so all servers of an installation have the same one
// without storing it. Only its signature differs each time.
func (a *Authority) Northbound() (*Authority, error) {
	secret, err := a.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("derive the northbound authority: %w", err)
	}
	raw, err := hkdf.Key(sha256.New, secret, nil, "northbound authority of husk", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the northbound authority: %w", err)
	}
	// Of 2^32 random numbers, one is too large for a key. Then the installation needs another authority.
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, fmt.Errorf("derive the northbound authority: %w", err)
	}
	sum := sha256.Sum256(a.root.cert.Raw)
	return selfSigned(key, "husk-northbound", new(big.Int).SetBytes(sum[:16]), a.root.cert.NotBefore, a.root.cert.NotAfter)
}

// NorthboundClient is for a server's connections to OVN's northbound database. The arguments are of the northbound authority.
func NorthboundClient(root *Root, h Holder) *tls.Config {
	config := client(root, h, centralName)
	config.MinVersion = tls.VersionTLS12 // Open vSwitch before 3.5 has no later one
	return config
}
