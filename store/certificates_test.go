// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestACertificateIsValidUntilItExpiresOrIsRevoked(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	node, first := h.joined(named("node"))
	other, foreign := h.joined(named("node"))
	h.wantRefused(node, "made up")
	h.wantRefused(node, foreign)

	second, err := h.RenewCertificate(ctx, node, first, hour)
	must(t, second, err)
	h.wantValid(node, first) // the first certificate stays valid, because the response with the second one may be lost
	h.wantValid(node, second.Serial)
	_, err = h.RenewCertificate(ctx, node, foreign, hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	expired, err := h.RenewCertificate(ctx, node, second.Serial, func(store.ID) (store.IssuedCertificate, error) { return issued(-time.Second), nil })
	must(t, expired, err)
	h.wantRefused(node, expired.Serial)
	_, err = h.RenewCertificate(ctx, node, expired.Serial, hour)
	wantCode(t, err, husk.CodeUnauthenticated)

	list, err := h.NodeCertificates(ctx, node)
	if must(t, list, err); len(list) != 3 || list[0].Serial != first || list[0].RevokedAt != nil || list[0].CreatedAt.IsZero() || !list[0].ExpiresAt.After(time.Now()) {
		t.Errorf("the certificates are %+v", list)
	}
	expiries, err := h.CertificateExpiries(ctx)
	if left := time.Until(must(t, expiries, err)[h.getNode(node).Name]); len(expiries) != 2 || left < 59*time.Minute || left > time.Hour {
		t.Errorf("the certificates expire at %v", expiries)
	}
	for range 2 {
		wantCode(t, h.RevokeNodeCertificates(ctx, node), "")
	}
	expiries, err = h.CertificateExpiries(ctx)
	if _, ok := must(t, expiries, err)[h.getNode(node).Name]; ok || len(expiries) != 1 {
		t.Errorf("after revoking, certificates expire at %v", expiries)
	}
	h.wantRefused(node, first)
	h.wantRefused(node, second.Serial)
	h.wantValid(other, foreign)
	_, err = h.RenewCertificate(ctx, node, second.Serial, hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	list, err = h.NodeCertificates(ctx, node)
	for _, c := range must(t, list, err) {
		if c.RevokedAt == nil {
			t.Errorf("%+v is not revoked", c)
		}
	}
	_, err = h.NodeCertificates(ctx, uuid.New())
	wantCode(t, err, husk.CodeNotFound)
	wantCode(t, h.RevokeNodeCertificates(ctx, uuid.New()), husk.CodeNotFound)
}

// A renewal that is under way when the certificate is revoked must not give the agent a valid
// certificate.
func TestARenewalCannotUndoASimultaneousRevocation(t *testing.T) {
	t.Parallel()
	h := open(t)
	node, serial := h.joined(named("node"))
	for _, err := range concurrently(9, func(i int) error {
		if i == 4 {
			return h.RevokeNodeCertificates(t.Context(), node)
		}
		_, err := h.RenewCertificate(t.Context(), node, serial, hour)
		if husk.CodeOf(err) == husk.CodeUnauthenticated {
			err = nil
		}
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM node_certificates WHERE revoked_at IS NULL"); n != 0 {
		t.Errorf("%d certificates are valid after the revocation", n)
	}
}

func TestRowsThatExpiredLongAgoAreDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	node, serial := h.joined(named("node"))
	for _, ago := range []time.Duration{29 * 24 * time.Hour, 31 * 24 * time.Hour} {
		_, err := h.RenewCertificate(t.Context(), node, serial, func(store.ID) (store.IssuedCertificate, error) { return issued(-ago), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.RenewCertificate(t.Context(), node, serial, hour)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := h.NodeCertificates(t.Context(), node); len(must(t, list, err)) != 3 {
		t.Errorf("the certificates are %+v", list)
	}
}

func TestTheAuthorityIsCreatedOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	got := make([]store.Authority, 5)
	for _, err := range concurrently(len(got), func(i int) (err error) {
		got[i], err = h.CertificateAuthority(t.Context(), func() (store.Authority, error) {
			return store.Authority{Certificate: named("certificate"), PrivateKey: []byte(named("key"))}, nil
		})
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, a := range got {
		if a.Certificate == "" || a.Certificate != got[0].Certificate || string(a.PrivateKey) != string(got[0].PrivateKey) {
			t.Errorf("the authorities %+v and %+v are not the same", a, got[0])
		}
	}
	if sealed := queryOne[[]byte](h, store.RoleControl, "SELECT private_key FROM certificate_authority"); string(sealed) == string(got[0].PrivateKey) {
		t.Error("the key is not sealed")
	}
	failed := errors.New("no entropy")
	other := open(t)
	if _, err := other.CertificateAuthority(t.Context(), func() (store.Authority, error) { return store.Authority{}, failed }); !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
}
