// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"testing"
	"time"
)

func TestTheNorthboundAuthorityIsTheSameForAllServersAndTrustsNoNode(t *testing.T) {
	t.Parallel()
	a := authority(t)
	key, err := a.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(a.Root().PEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.Northbound()
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.Northbound()
	if err != nil {
		t.Fatal(err)
	}
	own := func(a *Authority) error {
		c, err := server(t, a).certificate()
		if err != nil {
			t.Fatal(err)
		}
		return second.Root().verify(c.Leaf, serverName, clientUse)
	}
	if err := own(first); err != nil {
		t.Errorf("the certificate of another server: %v", err)
	}
	for what, other := range map[string]*Authority{"the installation's own authority": a, "another installation": authority(t)} {
		if own(other) == nil {
			t.Errorf("a certificate of %s is accepted", what)
		}
	}
	cert, err := node(t, a, nodeA, time.Hour).certificate()
	if err != nil {
		t.Fatal(err)
	}
	if second.Root().verify(cert.Leaf, nodeA, clientUse) == nil {
		t.Error("a node's certificate is accepted")
	}
	if a.Root().verify(first.Root().cert, "", serverUse) == nil {
		t.Error("the installation's authority vouches for the northbound one")
	}
}
