// SPDX-License-Identifier: Apache-2.0

// Package podevents writes the events of a pod's containers.
package podevents

import (
	"context"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// maxMessage limits the message of an event, in bytes. The status of the container has the whole message.
const maxMessage = 512

// Record writes what a report says has happened to a pod's containers.
func Record(ctx context.Context, q *db.Queries, row db.Pod, reported []husk.ContainerStatus) error {
	for _, e := range husk.ContainerEvents(row.Containers, reported) {
		p := db.InsertContainerEventParams{TenantID: row.TenantID, ObjectID: row.ID, Reason: e.Reason, Message: convert.Storable(e.Message, maxMessage)}
		if err := q.InsertContainerEvent(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
