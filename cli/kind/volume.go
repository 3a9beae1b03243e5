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

// Volumes are block devices that pods mount.
var Volumes = Kind[openapi.Volume]{
	View: print.View[openapi.Volume]{
		Kind: "volume",
		Name: func(v openapi.Volume) string { return v.Name },
		Columns: []print.Column[openapi.Volume]{
			print.Col("NAME", func(v openapi.Volume) string { return v.Name }),
			print.Col("STATE", func(v openapi.Volume) string { return string(v.State) }),
			print.Col("SIZE", func(v openapi.Volume) string { return fmt.Sprintf("%dGi", v.SizeGiB) }),
			print.Col("AGE", func(v openapi.Volume) string { return print.Age(v.CreatedAt) }),
			print.WideCol("POD", func(v openapi.Volume) string {
				if v.PodID == nil {
					return ""
				}
				return v.PodID.String()
			}),
			print.WideCol("SNAPSHOTS", func(v openapi.Volume) string {
				if v.SnapshotSchedule == nil {
					return ""
				}
				return fmt.Sprintf("every %dm, keep %d", v.SnapshotSchedule.EveryMinutes, openapi.Value(v.SnapshotSchedule.Keep))
			}),
			print.WideCol("FS", func(v openapi.Volume) string { return string(v.FsType) }),
			print.WideCol("LABELS", func(v openapi.Volume) string { return print.Labels(v.Labels) }),
			print.WideCol("ID", func(v openapi.Volume) string { return v.ID.String() }),
			print.WideCol("MESSAGE", func(v openapi.Volume) string { return openapi.Value(v.Message) }),
		},
	},
	Plural: "volumes", Aliases: []string{"volume", "vol"}, Short: "List or watch volumes", Labels: true,
	ID: func(v openapi.Volume) string { return v.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Volume, error) {
		return c.Volumes.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk volume create NAME --size 10Gi\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Volume, error] {
		return c.Volumes.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Volume], error] {
		return c.Volumes.Watch(ctx, o)
	},
}
