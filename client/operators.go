// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Tenants are managed by operators.
type Tenants struct{ c *Client }

// Create creates a tenant.
func (t Tenants) Create(ctx context.Context, tenant openapi.TenantCreate) (openapi.Tenant, error) {
	return Decode[openapi.Tenant](t.c.api.CreateTenant(ctx, &openapi.CreateTenantParams{IdempotencyKey: newKey()}, tenant))
}

// Get returns a tenant.
func (t Tenants) Get(ctx context.Context, id uuid.UUID) (openapi.Tenant, error) {
	return Decode[openapi.Tenant](t.c.api.GetTenant(ctx, id))
}

// Find returns a tenant by its name or its ID.
func (t Tenants) Find(ctx context.Context, nameOrID string) (openapi.Tenant, error) {
	return FindIn(t.List(ctx), "tenant", nameOrID, func(t openapi.Tenant) []string { return []string{t.Name, t.ID.String()} })
}

// List yields all tenants.
func (t Tenants) List(ctx context.Context) iter.Seq2[openapi.Tenant, error] {
	return pages[openapi.Tenant](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return t.c.api.ListTenants(ctx, &openapi.ListTenantsParams{Limit: limit, Cursor: cursor})
	})
}

// Update changes limits of a tenant.
func (t Tenants) Update(ctx context.Context, id uuid.UUID, change openapi.TenantUpdate) (openapi.Tenant, error) {
	return Decode[openapi.Tenant](t.c.api.UpdateTenant(ctx, id, &openapi.UpdateTenantParams{}, change))
}

// Delete deletes a tenant that has no objects.
func (t Tenants) Delete(ctx context.Context, id uuid.UUID) error {
	return done(t.c.api.DeleteTenant(ctx, id, &openapi.DeleteTenantParams{}))
}

// CreateKey creates an API key for a service account of the tenant. If the account does not exist, it is created with the role owner. The
// key's secret is in this response and nowhere else.
func (t Tenants) CreateKey(ctx context.Context, id uuid.UUID, key openapi.TenantKeyCreate) (openapi.APIKeyWithSecret, error) {
	return Decode[openapi.APIKeyWithSecret](t.c.api.CreateAPIKey(ctx, id, &openapi.CreateAPIKeyParams{IdempotencyKey: newKey()}, key))
}

// Placement returns the scheduler's last decision about a pod of any tenant, with all reasons.
func (t Tenants) Placement(ctx context.Context, tenant, pod uuid.UUID) (openapi.Placement, error) {
	return Decode[openapi.Placement](t.c.api.AdminGetPodPlacement(ctx, tenant, pod))
}

// Move moves a pod to another node.
func (t Tenants) Move(ctx context.Context, tenant, pod uuid.UUID, put openapi.MovePut) (openapi.Move, error) {
	return Decode[openapi.Move](t.c.api.MovePod(ctx, tenant, pod, put))
}

// Nodes are the machines that run pods. They are managed by operators.
type Nodes struct{ c *Client }

// List returns all nodes.
func (n Nodes) List(ctx context.Context) ([]openapi.Node, error) {
	l, err := Decode[openapi.NodeList](n.c.api.ListNodes(ctx))
	return l.Items, err
}

// Find returns a node by its name or its ID.
func (n Nodes) Find(ctx context.Context, nameOrID string) (openapi.Node, error) {
	return FindIn(Each(n.List(ctx)), "node", nameOrID, func(n openapi.Node) []string { return []string{n.ID.String(), n.Name} })
}

// Update changes a node: its pool, its labels and taints, and whether pods are scheduled to it.
func (n Nodes) Update(ctx context.Context, id uuid.UUID, change openapi.NodeUpdate) (openapi.Node, error) {
	return Decode[openapi.Node](n.c.api.UpdateNode(ctx, id, &openapi.UpdateNodeParams{}, change))
}

// Fence returns what is cut off if a node is fenced.
func (n Nodes) Fence(ctx context.Context, id uuid.UUID) (openapi.Fence, error) {
	return Decode[openapi.Fence](n.c.api.GetFence(ctx, id))
}

// DoFence cuts a node off from its pods' volumes, and has its pods moved.
func (n Nodes) DoFence(ctx context.Context, id uuid.UUID, put openapi.FencePut) (openapi.Fence, error) {
	return Decode[openapi.Fence](n.c.api.FenceNode(ctx, id, put))
}

// Drain cordons a node and has its pods moved to other nodes.
func (n Nodes) Drain(ctx context.Context, id uuid.UUID, put openapi.DrainPut) (openapi.Drain, error) {
	return Decode[openapi.Drain](n.c.api.DrainNode(ctx, id, put))
}

// GetDrain returns how far the drain of a node is.
func (n Nodes) GetDrain(ctx context.Context, id uuid.UUID) (openapi.Drain, error) {
	return Decode[openapi.Drain](n.c.api.GetDrain(ctx, id))
}

// CancelDrain ends the drain of a node.
func (n Nodes) CancelDrain(ctx context.Context, id uuid.UUID) error {
	return done(n.c.api.CancelDrain(ctx, id))
}

// CreateJoinToken creates a token with which one agent can join once.
func (n Nodes) CreateJoinToken(ctx context.Context, token openapi.JoinTokenCreate) (openapi.JoinToken, error) {
	return Decode[openapi.JoinToken](n.c.api.CreateJoinToken(ctx, &openapi.CreateJoinTokenParams{IdempotencyKey: newKey()}, token))
}

// Certificates returns the certificates that were issued to a node, oldest first.
func (n Nodes) Certificates(ctx context.Context, id uuid.UUID) ([]openapi.NodeCertificate, error) {
	l, err := Decode[openapi.NodeCertificateList](n.c.api.ListNodeCertificates(ctx, id))
	return l.Items, err
}

// RevokeCertificates revokes every certificate of a node. Its agent needs a join token for the node to come back.
func (n Nodes) RevokeCertificates(ctx context.Context, id uuid.UUID) error {
	return done(n.c.api.RevokeNodeCertificates(ctx, id))
}

// Defragment proposes which nodes can be drained by moving their pods to other nodes. Unless it is a dry run, it also drains them.
func (n Nodes) Defragment(ctx context.Context, d openapi.DefragmentationCreate) (openapi.Defragmentation, error) {
	return Decode[openapi.Defragmentation](n.c.api.Defragment(ctx, &openapi.DefragmentParams{IdempotencyKey: newKey()}, d))
}

// Pools are groups of nodes with the same CPU overcommit. They are managed by operators.
type Pools struct{ c *Client }

// List returns all pools.
func (p Pools) List(ctx context.Context) ([]openapi.Pool, error) {
	l, err := Decode[openapi.PoolList](p.c.api.ListPools(ctx))
	return l.Items, err
}

// Find returns a pool.
func (p Pools) Find(ctx context.Context, name string) (openapi.Pool, error) {
	return FindIn(Each(p.List(ctx)), "pool", name, func(p openapi.Pool) []string { return []string{p.Name} })
}

// Put creates a pool or changes it.
func (p Pools) Put(ctx context.Context, name string, pool openapi.PoolPut) (openapi.Pool, error) {
	return Decode[openapi.Pool](p.c.api.PutPool(ctx, name, pool))
}

// Delete deletes a pool that has no nodes.
func (p Pools) Delete(ctx context.Context, name string) error {
	return done(p.c.api.DeletePool(ctx, name))
}

// UnknownObjects lists the objects in Ceph that the database has never known.
func (c *Client) UnknownObjects(ctx context.Context) ([]openapi.UnknownObject, error) {
	l, err := Decode[openapi.UnknownObjectList](c.api.ListUnknownObjects(ctx))
	return l.Items, err
}

// DeleteUnknownObject approves that an unknown object is removed from Ceph.
func (c *Client) DeleteUnknownObject(ctx context.Context, name string) error {
	return done(c.api.DeleteUnknownObject(ctx, name))
}

// SigningKeys are the keys that sign tokens. They are managed by operators.
type SigningKeys struct{ c *Client }

// List returns all signing keys, the newest first.
func (s SigningKeys) List(ctx context.Context) ([]openapi.SigningKey, error) {
	l, err := Decode[openapi.SigningKeyList](s.c.api.ListSigningKeys(ctx))
	return l.Items, err
}

// Rotate creates a key. It signs tokens once every server has loaded it.
func (s SigningKeys) Rotate(ctx context.Context) (openapi.SigningKey, error) {
	return Decode[openapi.SigningKey](s.c.api.RotateSigningKey(ctx, &openapi.RotateSigningKeyParams{IdempotencyKey: newKey()}))
}

// Delete deletes a leaked key. Every token that it signed is rejected from then on.
func (s SigningKeys) Delete(ctx context.Context, kid string) error {
	return done(s.c.api.DeleteSigningKey(ctx, kid))
}

// AuditOfAll yields the audit log of all tenants, or of one, newest entries first.
func (c *Client) AuditOfAll(ctx context.Context, tenant *uuid.UUID, s AuditSelect) iter.Seq2[openapi.AuditEntry, error] {
	return pages[openapi.AuditEntry](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		p := s.page(limit, cursor)
		p.TenantID = tenant
		return c.api.AdminListAudit(ctx, &p)
	})
}

// UsageOfAll returns what all tenants have used and what that costs.
func (c *Client) UsageOfAll(ctx context.Context, params openapi.AdminGetUsageParams) (openapi.UsageList, error) {
	params.Format = nil
	return Decode[openapi.UsageList](c.api.AdminGetUsage(ctx, &params))
}

// UsageOfAllCSV writes the same as [Client.UsageOfAll], as comma-separated values.
func (c *Client) UsageOfAllCSV(ctx context.Context, params openapi.AdminGetUsageParams, w io.Writer) error {
	params.Format = new(openapi.AdminGetUsageParamsFormatCsv)
	return copyBody(w)(c.api.AdminGetUsage(ctx, &params))
}

// Each yields a slice as a list, for kinds that the API returns in one response.
func Each[T any](items []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}
