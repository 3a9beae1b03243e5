// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"husk/store/db"
	"husk/store/hints"
)

// Watch returns a channel of hints that something of the tenant may have changed. Call the function when done.
func (t Tenant) Watch() (<-chan struct{}, func()) { return t.hub.Subscribe(hints.Tenant(t.id)) }

// WatchImages is like Watch, with hints also when an import has made progress.
func (t Tenant) WatchImages() (<-chan struct{}, func()) {
	return t.hub.Subscribe(hints.Tenant(t.id), hints.Imports(t.id))
}

// WatchNetwork is like Watch, for what package hints describes at Network.
func (t Tenant) WatchNetwork() (<-chan struct{}, func()) { return t.hub.Subscribe(hints.Network(t.id)) }

// WatchIngresses is like Watch, for the tenant's ingresses.
func (t Tenant) WatchIngresses() (<-chan struct{}, func()) {
	return t.hub.Subscribe(hints.Ingress(t.id))
}

// WatchNode is like Watch, for the node's desired state.
func (c Control) WatchNode(node ID) (<-chan struct{}, func()) {
	return c.hub.Subscribe(hints.Node(node))
}

// WatchWork is like Watch, with hints that there may be work for the control loops.
func (c Control) WatchWork() (<-chan struct{}, func()) { return c.hub.Subscribe(hints.Work) }

// WatchSigningKeys is like Watch, for the keys that sign tokens.
func (c Control) WatchSigningKeys() (<-chan struct{}, func()) {
	return c.hub.Subscribe(hints.SigningKeys)
}

// sendHints notifies all servers of the hints in the outbox.
func (c Control) sendHints(ctx context.Context) error {
	_, err := inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.SendHints(ctx) })
	return err
}

// hint sends hints of these topics when the transaction is committed.
func hint(ctx context.Context, q *db.Queries, topics ...string) error { return q.Hint(ctx, topics) }

// hintTenant sends a hint that something of the tenant has changed.
func hintTenant(ctx context.Context, q *db.Queries, tenant ID) error {
	return hint(ctx, q, hints.Tenant(tenant))
}

// hintWork wakes the control loops and the tenant's watchers.
func hintWork(ctx context.Context, q *db.Queries, tenant ID) error {
	return hint(ctx, q, hints.Work, hints.Tenant(tenant))
}
