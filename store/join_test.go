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

// hour issues a placeholder for a certificate, valid for an hour. The store stores any text.
func hour(store.ID) (store.IssuedCertificate, error) { return issued(time.Hour), nil }

func issued(life time.Duration) store.IssuedCertificate {
	return store.IssuedCertificate{Serial: uuid.NewString(), PEM: "certificate", ExpiresAt: time.Now().Add(life)}
}

// joined returns a node that has registered but has not sent a heartbeat yet, and the serial of its
// certificate.
func (h fixture) joined(name string) (id store.ID, serial string) {
	h.t.Helper()
	id, c, err := h.RegisterNode(h.t.Context(), h.joinToken(time.Hour), name, hour)
	must(h.t, id, err)
	return id, c.Serial
}

// wantValid checks that a node's certificate is accepted.
func (h fixture) wantValid(node store.ID, serial string) {
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
	h.wantValid(id, first.Serial)

	// If the response is lost, the agent repeats the request with the same token and name. It gets
	// a new certificate, and the first one is revoked.
	again, second, err := h.RegisterNode(ctx, token, "metal-1", hour)
	if must(t, again, err); again != id {
		t.Error("the repeated request created another node")
	}
	h.wantRefused(id, first.Serial)
	h.wantValid(id, second.Serial)

	_, _, err = h.RegisterNode(ctx, token, "metal-2", hour)
	wantCode(t, err, husk.CodeUnauthenticated)

	// After the node's first heartbeat, the token cannot be used again.
	h.heartbeat(husk.Node{ID: id})
	_, _, err = h.RegisterNode(ctx, token, "metal-1", hour)
	wantCode(t, err, husk.CodeUnauthenticated)
	h.wantValid(id, second.Serial)

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
	_, _, err = h.RegisterNode(ctx, fresh, "metal-3", hour) // a refused request does not use the token
	wantCode(t, err, "")

	if err := h.DeleteNode(ctx, id); err != nil {
		t.Fatal(err)
	}
	h.wantRefused(id, second.Serial)
	_, _, err = h.RegisterNode(ctx, token, "metal-1", hour) // deleting its node does not make the token valid again
	wantCode(t, err, husk.CodeUnauthenticated)
}

func TestManyRegistrationsWithOneTokenCreateOneNode(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.joinToken(time.Hour)
	ids := make([]store.ID, 10)
	for _, err := range concurrently(len(ids), func(i int) (err error) {
		ids[i], _, err = h.RegisterNode(t.Context(), token, "metal", hour)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one token created the nodes %s and %s", ids[0], id)
		}
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM node_certificates WHERE revoked_at IS NULL"); n != 1 {
		t.Errorf("%d certificates are valid", n)
	}
}

func TestATokenReadmitsTheNodeItNames(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant, node := h.tenant(), h.node(2)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
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
	h.wantValid(node.ID, old) // creating the token does not revoke the certificate

	again, first, err := h.RegisterNode(ctx, token.Secret, node.Name, hour)
	if must(t, again, err); again != node.ID {
		t.Errorf("the node %s was re-admitted as %s", node.ID, again)
	}
	h.wantRefused(node.ID, old)
	again, second, err := h.RegisterNode(ctx, token.Secret, node.Name, hour) // a repeated request, as after a lost response
	if must(t, again, err); again != node.ID {
		t.Errorf("the node %s was re-admitted as %s", node.ID, again)
	}
	h.wantRefused(node.ID, first.Serial)
	h.wantValid(node.ID, second.Serial)
	if state, err := h.Desired(ctx, node.ID, nil); err != nil || len(state.Changes) != 1 {
		t.Errorf("the re-admitted node runs %+v: %v", state, err)
	}
	h.heartbeat(node)
	_, _, err = h.RegisterNode(ctx, token.Secret, node.Name, hour)
	wantCode(t, err, husk.CodeUnauthenticated)

	// A token that re-admits a deleted node does not create a new node.
	other := h.node(1)
	token, err = h.CreateJoinToken(ctx, once(), time.Hour, &other.ID)
	must(t, token, err)
	wantCode(t, h.DeleteNode(ctx, other.ID), "")
	_, _, err = h.RegisterNode(ctx, token.Secret, other.Name, hour)
	wantCode(t, err, husk.CodeUnauthenticated)
}
