// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Snapshots are contents of volumes at one moment.
var Snapshots = Kind[openapi.Snapshot]{
	View: print.View[openapi.Snapshot]{
		Kind: "snapshot",
		Name: func(s openapi.Snapshot) string { return s.Name },
		Columns: []print.Column[openapi.Snapshot]{
			print.Col("NAME", func(s openapi.Snapshot) string { return s.Name }),
			print.Col("VOLUME", func(s openapi.Snapshot) string { return s.VolumeName }),
			print.Col("STATE", func(s openapi.Snapshot) string {
				if s.State == openapi.SnapshotStateCreating {
					return fmt.Sprintf("%s %d%%", s.State, s.ProgressPercent)
				}
				return string(s.State)
			}),
			print.Col("SIZE", func(s openapi.Snapshot) string { return fmt.Sprintf("%dGi", s.SizeGiB) }),
			print.Col("AGE", func(s openapi.Snapshot) string { return print.Age(s.CreatedAt) }),
			print.WideCol("LABELS", func(s openapi.Snapshot) string { return print.Labels(s.Labels) }),
			print.WideCol("ID", func(s openapi.Snapshot) string { return s.ID.String() }),
			print.WideCol("MESSAGE", func(s openapi.Snapshot) string { return openapi.Value(s.Message) }),
		},
	},
	Plural: "snapshots", Aliases: []string{"snapshot", "snap"}, Short: "List or watch snapshots of volumes", Labels: true,
	ID: func(s openapi.Snapshot) string { return s.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Snapshot, error) {
		return c.Snapshots.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk snapshot create NAME --volume VOLUME\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Snapshot, error] {
		return c.Snapshots.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Snapshot], error] {
		return c.Snapshots.Watch(ctx, o)
	},
}
