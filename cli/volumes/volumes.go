// SPDX-License-Identifier: Apache-2.0

// Package volumes has the commands that create and change volumes and snapshots.
package volumes

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk"
	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Parts is what the commands share with all others.
type Parts struct {
	Connect func() (*client.Client, error)
	// Output adds the flags for the format of the output.
	Output func(cmd *cobra.Command, formats ...string) func() (print.Printer, error)
	// Names completes the names of a kind.
	Names func(kind string) complete.Offer
	// In and Out are standard input and output.
	In  func() io.Reader
	Out func() io.Writer
}

// Commands makes the commands for volumes.
func Commands(a Parts) []*cobra.Command {
	return []*cobra.Command{create(a), grow(a), restore(a), schedule(a), set(a), export(a), importVolume(a)}
}

// change finds a volume, changes it, and prints what was done.
func (a Parts) change(cmd *cobra.Command, p print.Printer, name string, do func(context.Context, *client.Client, uuid.UUID) (openapi.Volume, string, error)) error {
	c, err := a.Connect()
	if err != nil {
		return err
	}
	volume, err := c.Volumes.Find(cmd.Context(), name)
	if err != nil {
		return err
	}
	volume, done, err := do(cmd.Context(), c, volume.ID)
	if err != nil {
		return err
	}
	return kind.Volumes.Done(p, volume, done)
}

func create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME {--size SIZE|--snapshot SNAPSHOT}",
		Short: "Create a volume that is empty, or has the content of a snapshot",
		Long: `Create a volume with an empty file system, or with the content of a snapshot.
With --fs-type none, it is a block device, which containers use in volumeDevices.

A volume that was made from a snapshot is available within seconds and shares the
snapshot's data. With --flatten, all data is copied first; the volume is then
independent of the snapshot.

With --encrypted, the volume is encrypted with a key of its own before it is written
to the storage. A volume from an encrypted snapshot always is, with the same key.`,
		Example: "  husk volume create data --size 10Gi\n  husk volume create copy --snapshot before-upgrade",
		Args:    cobra.ExactArgs(1),
	}
	size := cmd.Flags().String("size", "", "size in whole GiB, such as 10Gi; by default that of the snapshot")
	from := cmd.Flags().String("snapshot", "", "make the volume from this snapshot")
	fsType := cmd.Flags().String("fs-type", "", "file system: ext4 (default), xfs, or none for a block device")
	encrypted := cmd.Flags().Bool("encrypted", false, "encrypt the volume with a key of its own")
	class := cmd.Flags().String("class", "", "volume class; by default that of the operator, if there is one")
	flatten := cmd.Flags().Bool("flatten", false, "copy all data of the snapshot")
	labels := cmd.Flags().StringArray("label", nil, "add a label, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		switch {
		case *size == "" && *from == "":
			return exit.Usagef("no size given; add one, such as --size 10Gi")
		case *flatten && *from == "":
			return exit.Usagef("--flatten is for a volume that is made from a snapshot; add --snapshot")
		}
		volume := openapi.VolumeCreate{Name: args[0]}
		if cmd.Flags().Changed("encrypted") {
			volume.Encrypted = encrypted
		}
		if *class != "" {
			volume.Class = class
		}
		if *size != "" {
			if volume.SizeGiB, err = parse.Size("--size", *size, "Gi"); err != nil {
				return err
			}
		}
		if *fsType != "" {
			if volume.FsType = new(openapi.FSType(*fsType)); !volume.FsType.Valid() {
				return exit.Usagef("unknown file system %q; use ext4, xfs or none", *fsType)
			}
		}
		if volume.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		if *from != "" {
			s, err := c.Snapshots.Find(cmd.Context(), *from)
			if err != nil {
				return err
			}
			volume.Source, volume.Flatten = &openapi.VolumeSource{SnapshotID: s.ID}, flatten
			volume.SizeGiB = cmp.Or(volume.SizeGiB, s.SizeGiB)
		}
		created, err := c.Volumes.Create(cmd.Context(), volume)
		if err != nil {
			return err
		}
		return kind.Volumes.Done(p, created, "created")
	}
	return cmd
}

func grow(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grow VOLUME --size SIZE",
		Short: "Make a volume larger, also while a pod uses it",
		Long: `Make a volume larger.

If the volume's pod runs, the pod sees the new size within seconds. Otherwise, the
file system grows when the next pod mounts the volume. The new size counts for the
quota at once. A volume cannot become smaller.`,
		Example:           "  husk volume grow data --size 20Gi",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.Names("volume"),
	}
	size := cmd.Flags().String("size", "", "new size in whole GiB, such as 20Gi")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *size == "" {
			return exit.Usagef("no size given; add one, such as --size 20Gi")
		}
		gib, err := parse.Size("--size", *size, "Gi")
		if err != nil {
			return err
		}
		return a.change(cmd, p, args[0], func(ctx context.Context, c *client.Client, id uuid.UUID) (openapi.Volume, string, error) {
			v, err := c.Volumes.Grow(ctx, id, gib)
			return v, fmt.Sprintf("has %d GiB now", v.SizeGiB), err
		})
	}
	return cmd
}

func schedule(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule VOLUME {--every INTERVAL [--keep NUMBER]|--off}",
		Short: "Take snapshots of a volume at an interval",
		Long: `Take a snapshot of a volume at an interval, and keep the latest ones. Older ones are
deleted when a new one is ready, unless a volume shares their data. Snapshots that
you create yourself are not affected. With --off, the schedule ends and its
snapshots stay.`,
		Example: "  husk volume schedule data --every 24h --keep 7",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume"),
	}
	every := cmd.Flags().String("every", "", "interval in whole minutes, such as 30m, 12h or 7d")
	keep := cmd.Flags().Int("keep", husk.DefaultSnapshotsKept, "how many of the snapshots to keep")
	off := cmd.Flags().Bool("off", false, "end the schedule")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *off == (*every != "") {
			return exit.Usagef("give --every with an interval, such as --every 24h, or --off")
		}
		s, done := openapi.SnapshotSchedule{}, "has no schedule of snapshots any more"
		if !*off {
			seconds, err := parse.Lifetime("--every", *every)
			if err != nil {
				return err
			}
			if *seconds%60 != 0 {
				return exit.Usagef("--every: %s is not a whole number of minutes", *every)
			}
			s, done = openapi.SnapshotSchedule{EveryMinutes: int(*seconds / 60), Keep: keep}, fmt.Sprintf("gets a snapshot every %s and keeps %d", *every, *keep)
		}
		return a.change(cmd, p, args[0], func(ctx context.Context, c *client.Client, id uuid.UUID) (openapi.Volume, string, error) {
			v, err := c.Volumes.Schedule(ctx, id, s)
			return v, done, err
		})
	}
	return cmd
}

func restore(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore VOLUME --snapshot SNAPSHOT",
		Short: "Make the content of a volume that of a snapshot",
		Long: `Make the content of a volume that of a snapshot. What the volume has now is deleted.
No pod may use the volume. To look into a snapshot first, make a volume from it.`,
		Example: "  husk volume restore data --snapshot before-upgrade",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume"),
	}
	from := cmd.Flags().String("snapshot", "", "the snapshot, by name or ID")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *from == "" {
			return exit.Usagef("no snapshot given; add one with --snapshot")
		}
		return a.change(cmd, p, args[0], func(ctx context.Context, c *client.Client, id uuid.UUID) (openapi.Volume, string, error) {
			s, err := c.Snapshots.Find(ctx, *from)
			if err != nil {
				return openapi.Volume{}, "", err
			}
			v, err := c.Volumes.Restore(ctx, id, s.ID)
			return v, "is being restored", err
		})
	}
	return cmd
}

// CreateSnapshot makes the command that creates snapshots.
func CreateSnapshot(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --volume VOLUME",
		Short: "Create a snapshot of a volume, also while a pod uses it",
		Long: `Create a snapshot of a volume. It has the content of one moment, as if the power had
failed then: file systems and databases recover from that. It is copied in the
background, and stays when the volume is deleted. With --consistent, the file system
is frozen for that moment, so it also has what programs have not synced.`,
		Example: "  husk snapshot create before-upgrade --volume data --consistent",
		Args:    cobra.ExactArgs(1),
	}
	of := cmd.Flags().String("volume", "", "the volume, by name or ID")
	consistent := cmd.Flags().Bool("consistent", false, "freeze the file system in the pod for that moment")
	labels := cmd.Flags().StringArray("label", nil, "add a label, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *of == "" {
			return exit.Usagef("no volume given; add one with --volume")
		}
		snapshot := openapi.SnapshotCreate{Name: args[0]}
		if *consistent {
			snapshot.Consistent = consistent
		}
		if snapshot.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		volume, err := c.Volumes.Find(cmd.Context(), *of)
		if err != nil {
			return err
		}
		snapshot.VolumeID = volume.ID
		created, err := c.Snapshots.Create(cmd.Context(), snapshot)
		if err != nil {
			return err
		}
		return kind.Snapshots.Done(p, created, "is being created")
	}
	return cmd
}
