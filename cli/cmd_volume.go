// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

func volumesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Volumes)
	cmd.AddCommand(createVolumeCommand(a), deleteKind(a, "volume"))
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
