// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func (h fixture) joinToken(life time.Duration) string {
	h.t.Helper()
	token, err := h.CreateJoinToken(h.t.Context(), once(), life, nil)
	return must(h.t, token, err).Secret
}

// hour issues a certificate that is none, good for an hour: the store writes down what it is given.
func hour(store.ID) (store.IssuedCertificate, error) { return issued(time.Hour), nil }

func issued(life time.Duration) store.IssuedCertificate {
	return store.IssuedCertificate{Serial: uuid.NewString(), PEM: "certificate", ExpiresAt: time.Now().Add(life)}
}

// joined returns a node that has registered and sent nothing yet, and the serial of its certificate.
func (h fixture) joined(name string) (id store.ID, serial string) {
	h.t.Helper()
	id, c, err := h.RegisterNode(h.t.Context(), h.joinToken(time.Hour), name, hour)
	must(h.t, id, err)
	return id, c.Serial
}

// wantGood checks that a node's certificate is taken.
func (h fixture) wantGood(node store.ID, serial string) {
	h.t.Helper()
	if err := h.AuthenticateNode(h.t.Context(), node, serial); err != nil {
		h.t.Error(err)
	}
}

// wantRefused checks that a node's certificate is refused.
func (h fixture) wantRefused(node store.ID, serial string) {
	h.t.Helper()
	wantCode(h.t, h.AuthenticateNode(h.t.Context(), node, serial), husk.CodeUnauthenticated)
}

func TestAJoinTokenAdmitsOneNode(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	token := h.joinToken(time.Hour)
	id, first, err := h.RegisterNode(ctx, token, "metal-1", hour)
	must(t, id, err)
	h.wantGood(id, first.Serial)

	// The response was lost: the same token and name again give a new certificate and end the first one.
	again, second, err := h.RegisterNode(ctx, token, "metal-1", hour)
	if must(t, again, err); again != id {
		t.Error("the repetition made another node")
	}
	h.wantRefused(id, first.Serial)
	h.wantGood(id, second.Serial)

	_, _, err = h.RegisterNode(ctx, token, "metal-2", hour)
	wantCode(t, err, husk.CodeUnauthenticated)

	// After a heartbeat the node has arrived, and nobody can take its place with the token.
	h.beat(husk.Node{ID: id})
	_, _, err = h.RegisterNode(ctx, token, "metal-1", hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	h.wantGood(id, second.Serial)

	_, _, err = h.RegisterNode(ctx, h.joinToken(-time.Second), "metal-3", hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	_, _, err = h.RegisterNode(ctx, "made up", "metal-3", hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	fresh := h.joinToken(time.Hour)
	_, _, err = h.RegisterNode(ctx, fresh, "metal-1", hour)
	wantCode(t, err, husk.CodeNameTaken)
	_, _, err = h.RegisterNode(ctx, fresh, "metal-3", func(store.ID) (store.IssuedCertificate, error) {
		return store.IssuedCertificate{}, husk.Errorf(husk.CodeInvalid, "certificateRequest", "no")
	})
	wantCode(t, err, husk.CodeInvalid)
	_, _, err = h.RegisterNode(ctx, fresh, "metal-3", hour) // a refusal does not use the token up
	wantCode(t, err, "")

	if err := h.DeleteNode(ctx, id); err != nil {
		t.Fatal(err)
	}
	h.wantRefused(id, second.Serial)
	_, _, err = h.RegisterNode(ctx, token, "metal-1", hour) // the token does not come back with its node's end
	wantCode(t, err, husk.CodeUnauthenticated)
}

func TestManyRegistrationsWithOneTokenMakeOneNode(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.joinToken(time.Hour)
	ids := make([]store.ID, 10)
	for _, err := range together(len(ids), func(i int) (err error) {
		ids[i], _, err = h.RegisterNode(t.Context(), token, "metal", hour)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one token made the nodes %s and %s", ids[0], id)
		}
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM node_certificates WHERE revoked_at IS NULL"); n != 1 {
		t.Errorf("%d certificates are good", n)
	}
}

func TestATokenReadmitsTheNodeItNames(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant, node := h.tenant(), h.node(2)
	pod := h.order(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	certificates, err := h.NodeCertificates(ctx, node.ID)
	old := must(t, certificates, err)[0].Serial
	unknown := uuid.New()
	_, err = h.CreateJoinToken(ctx, once(), time.Hour, &unknown)
	wantCode(t, err, husk.CodeNotFound)
	token, err := h.CreateJoinToken(ctx, once(), time.Hour, &node.ID)
	must(t, token, err)
	_, _, err = h.RegisterNode(ctx, token.Secret, "another name", hour)
	wantCode(t, err, husk.CodeInvalid)
	h.wantGood(node.ID, old) // nothing has happened yet

	again, first, err := h.RegisterNode(ctx, token.Secret, node.Name, hour)
	if must(t, again, err); again != node.ID {
		t.Errorf("the node %s came back as %s", node.ID, again)
	}
	h.wantRefused(node.ID, old)
	again, second, err := h.RegisterNode(ctx, token.Secret, node.Name, hour) // the response was lost
	if must(t, again, err); again != node.ID {
		t.Errorf("the node %s came back as %s", node.ID, again)
	}
	h.wantRefused(node.ID, first.Serial)
	h.wantGood(node.ID, second.Serial)
	if _, pods, err := h.Desired(ctx, node.ID); err != nil || len(pods) != 1 {
		t.Errorf("the node that came back runs %d pods: %v", len(pods), err)
	}
	h.beat(node)
	_, _, err = h.RegisterNode(ctx, token.Secret, node.Name, hour)
	wantCode(t, err, husk.CodeUnauthenticated)

	// A token that re-admits a deleted node creates no new one.
	other := h.node(1)
	token, err = h.CreateJoinToken(ctx, once(), time.Hour, &other.ID)
	must(t, token, err)
	wantCode(t, h.DeleteNode(ctx, other.ID), "")
	_, _, err = h.RegisterNode(ctx, token.Secret, other.Name, hour)
	wantCode(t, err, husk.CodeUnauthenticated)
}
