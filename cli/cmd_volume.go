// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

func volumesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Volumes)
	cmd.AddCommand(createVolumeCommand(a), growVolumeCommand(a), deleteKind(a, "volume"))
	return cmd
}

func createVolumeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME --size SIZE",
		Short:   "Create a volume with an empty file system",
		Example: "  husk volume create data --size 10Gi",
		Args:    cobra.ExactArgs(1),
	}
	size := cmd.Flags().String("size", "", "size in whole GiB, such as 10Gi")
	labels := cmd.Flags().StringArray("label", nil, "add a label, NAME=VALUE; may be repeated")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *size == "" {
			return exit.Usagef("no size given; add one, such as --size 10Gi")
		}
		volume := openapi.VolumeCreate{Name: args[0]}
		if volume.SizeGiB, err = parse.Size("--size", *size, "Gi"); err != nil {
			return err
		}
		if volume.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		created, err := c.Volumes.Create(cmd.Context(), volume)
		if err != nil {
			return err
		}
		return kind.Volumes.Done(p, created, "created")
	}
	return cmd
}

func growVolumeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grow VOLUME --size SIZE",
		Short: "Make a volume larger, also while a pod uses it",
		Long: `Make a volume larger.

If the volume's pod runs, the pod sees the new size within seconds. Otherwise, the
file system grows when the next pod mounts the volume. The new size counts for the
quota at once. A volume cannot become smaller.`,
		Example:           "  husk volume grow data --size 20Gi",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.offers().Names("volume"),
	}
	size := cmd.Flags().String("size", "", "new size in whole GiB, such as 20Gi")
	output := a.outputFlags(cmd, "text")
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
		c, err := a.connect()
		if err != nil {
			return err
		}
		volume, err := c.Volumes.Find(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if volume, err = c.Volumes.Grow(cmd.Context(), volume.ID, gib); err != nil {
			return err
		}
		return kind.Volumes.Done(p, volume, fmt.Sprintf("has %d GiB now", volume.SizeGiB))
	}
	return cmd
}
