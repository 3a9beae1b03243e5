// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"husk"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Volumes are block devices that pods mount.
var Volumes = Kind[openapi.Volume]{
	View: print.View[openapi.Volume]{
		Kind: "volume", Document: "Volume",
		Name: func(v openapi.Volume) string { return v.Name },
		Columns: []print.Column[openapi.Volume]{
			print.Col("NAME", func(v openapi.Volume) string { return v.Name }),
			print.Col("STATE", func(v openapi.Volume) string {
				if v.ProgressPercent != nil {
					return fmt.Sprintf("%s %d%%", v.State, *v.ProgressPercent)
				}
				return string(v.State)
			}),
			print.Col("SIZE", func(v openapi.Volume) string { return fmt.Sprintf("%dGi", v.SizeGiB) }),
			print.Col("AGE", func(v openapi.Volume) string { return print.Age(v.CreatedAt) }),
			print.Col("CLASS", func(v openapi.Volume) string { return openapi.Value(v.Class) }),
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
			print.WideCol("ENCRYPTED", func(v openapi.Volume) string {
				if openapi.Value(v.Encrypted) {
					return "yes"
				}
				return ""
			}),
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

// VolumeClasses say how much the disks of volumes can read and write.
var VolumeClasses = Kind[openapi.VolumeClass]{
	View: print.View[openapi.VolumeClass]{
		Kind: "volume-class",
		Name: func(k openapi.VolumeClass) string { return k.Name },
		Columns: []print.Column[openapi.VolumeClass]{
			print.Col("NAME", func(k openapi.VolumeClass) string { return k.Name }),
			print.Col("IOPS", func(k openapi.VolumeClass) string { return limited(k.Iops) }),
			print.Col("MIB/S", func(k openapi.VolumeClass) string { return limited(k.MibPerSecond) }),
			print.Col("DEFAULT", func(k openapi.VolumeClass) string { return map[bool]string{true: "yes"}[k.Default] }),
			print.Col("AGE", func(k openapi.VolumeClass) string { return print.Age(k.CreatedAt) }),
			print.WideCol("VOLUMES", func(k openapi.VolumeClass) string {
				if k.Volumes == nil { // only operators see it
					return ""
				}
				return strconv.Itoa(*k.Volumes)
			}),
		},
	},
	Plural: "volume-classes", Aliases: []string{"volume-class"}, Short: "List volume classes",
	ID:     func(k openapi.VolumeClass) string { return k.Name },
	NoID:   true,
	IfNone: "volumes share the limits of their pod; operators create classes with \"husk volume-class set\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.VolumeClass, error] {
		return client.Each(volumeClasses(ctx, c))
	},
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.VolumeClass, error) {
		return client.FindIn(client.Each(volumeClasses(ctx, c)), "volume-class", name, func(k openapi.VolumeClass) []string { return []string{k.Name} })
	},
}

// volumeClasses lists the classes for members of a tenant, and for operators, who see more.
func volumeClasses(ctx context.Context, c *client.Client) ([]openapi.VolumeClass, error) {
	classes, err := c.Volumes.Classes(ctx)
	if client.HasCode(err, husk.CodeForbidden) {
		return c.Volumes.ClassesWithUse(ctx)
	}
	return classes, err
}

func limited(n int) string {
	if n == 0 {
		return "unlimited"
	}
	return strconv.Itoa(n)
}
