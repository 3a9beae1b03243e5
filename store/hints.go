// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"husk/store/db"
)

// The topics of hints. A hint says "look again"; the truth is always re-read.
const (
	topicWork        = "work"         // something for the control loops
	topicSigningKeys = "signing-keys" // the keys that sign tokens have changed
)

func topicTenant(id ID) string { return "tenant:" + id.String() }

func topicImports(id ID) string { return "imports:" + id.String() } // import progress, which only watchers of images need

func topicNode(id ID) string { return "node:" + id.String() }

// Watch hints that something of the tenant may have changed. Call the function when done.
func (t Tenant) Watch() (<-chan struct{}, func()) { return t.hub.Subscribe(topicTenant(t.id)) }

// WatchImages hints as Watch does, and when an import has made progress.
func (t Tenant) WatchImages() (<-chan struct{}, func()) {
	return t.hub.Subscribe(topicTenant(t.id), topicImports(t.id))
}

// WatchNode hints that the node's desired state may have changed.
func (c Control) WatchNode(node ID) (<-chan struct{}, func()) {
	return c.hub.Subscribe(topicNode(node))
}

// WatchWork hints that there may be work for the control loops.
func (c Control) WatchWork() (<-chan struct{}, func()) { return c.hub.Subscribe(topicWork) }

// WatchSigningKeys hints that the keys that sign tokens may have changed.
func (c Control) WatchSigningKeys() (<-chan struct{}, func()) {
	return c.hub.Subscribe(topicSigningKeys)
}

// notifyTenant hints that something of the tenant has changed. SQL functions send the same payload.
func notifyTenant(ctx context.Context, q *db.Queries, tenant ID) error {
	return q.Notify(ctx, topicTenant(tenant))
}

// notifyWork wakes the control loops and the tenant's watchers.
func notifyWork(ctx context.Context, q *db.Queries, tenant ID) error {
	if err := q.Notify(ctx, topicWork); err != nil {
		return err
	}
	return notifyTenant(ctx, q, tenant)
}
