// SPDX-License-Identifier: Apache-2.0

// Package podevents writes the events of a pod's containers.
package podevents

import (
	"context"

	"husk"
	"husk/store/db"
)

// Record writes what a report says has happened to a pod's containers.
func Record(ctx context.Context, q *db.Queries, row db.Pod, reported []husk.ContainerStatus) error {
	for _, e := range husk.ContainerEvents(row.Containers, reported) {
		p := db.InsertEventParams{TenantID: row.TenantID, Kind: "pod", ObjectID: row.ID, Reason: e.Reason, Message: e.Message}
		if err := q.InsertEvent(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
