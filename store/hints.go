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

// notifyTenant sends a hint that something of the tenant has changed.
func notifyTenant(ctx context.Context, q *db.Queries, tenant ID) error {
	return q.Notify(ctx, hints.Tenant(tenant))
}

// notifyWork wakes the control loops and the tenant's watchers.
func notifyWork(ctx context.Context, q *db.Queries, tenant ID) error {
	if err := q.Notify(ctx, hints.Work); err != nil {
		return err
	}
	return notifyTenant(ctx, q, tenant)
}
