// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/client"
	"husk/openapi"
)

func set(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set VOLUME --class CLASS",
		Short: "Change the class of a volume, also while a pod uses it",
		Long: `Change the class of a volume. The class says how much the volume's disk can read and
write. A running pod gets the limits of the new class within seconds. To see the
classes, run "husk volume-classes".`,
		Example: "  husk volume set data --class fast",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume"),
	}
	class := cmd.Flags().String("class", "", "the volume class")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *class == "" {
			return exit.Usagef("no class given; add one with --class")
		}
		return a.change(cmd, p, args[0], func(ctx context.Context, c *client.Client, id uuid.UUID) (openapi.Volume, string, error) {
			v, err := c.Volumes.SetClass(ctx, id, *class)
			return v, "has the class " + *class + " now", err
		})
	}
	return cmd
}

// ClassCommands makes the commands for volume classes, which operators define.
func ClassCommands(a Parts) []*cobra.Command {
	return []*cobra.Command{setClass(a), deleteClass(a)}
}

func setClass(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME {--iops NUMBER|--mib-per-second NUMBER|--default}",
		Short: "Create a volume class, or change it",
		Long: `Create a volume class, or change what the flags name. Each volume with the class can
read and write so much; 0 is no limit, and so is what a new class does not name.
Running pods get other limits within seconds. The default class is that of new
volumes that name no class.`,
		Example: "  husk volume-class set standard --iops 1000 --mib-per-second 100 --default",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume-class"),
	}
	iops := cmd.Flags().Int("iops", 0, "reads and writes per second")
	mib := cmd.Flags().Int("mib-per-second", 0, "MiB that are read and written per second")
	standard := cmd.Flags().Bool("default", false, "make it the default class")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		changed := cmd.Flags().Changed
		if !changed("iops") && !changed("mib-per-second") && !changed("default") {
			return exit.Usagef("nothing to change given; add --iops, --mib-per-second or --default")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		name := kind.Bare("volume-class", args[0])
		classes, err := c.Volumes.ClassesWithUse(cmd.Context())
		if err != nil {
			return err
		}
		class := openapi.VolumeClassPut{}
		at := slices.IndexFunc(classes, func(k openapi.VolumeClass) bool { return k.Name == name })
		switch {
		case at >= 0:
			class = openapi.VolumeClassPut{Iops: classes[at].Iops, MibPerSecond: classes[at].MibPerSecond, Default: &classes[at].Default}
		case !changed("iops") && !changed("mib-per-second"):
			return exit.Usagef("there is no volume class %q yet; to create it, add --iops or --mib-per-second, of which 0 is no limit", name)
		}
		if changed("iops") {
			class.Iops = *iops
		}
		if changed("mib-per-second") {
			class.MibPerSecond = *mib
		}
		if changed("default") {
			class.Default = standard
		}
		now, err := c.Volumes.PutClass(cmd.Context(), name, class)
		if err != nil {
			return err
		}
		return kind.VolumeClasses.Done(p, now, fmt.Sprintf("limits %d volumes", openapi.Value(now.Volumes)))
	}
	return cmd
}

func deleteClass(a Parts) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a volume class that no volume has", Args: cobra.ExactArgs(1), ValidArgsFunction: a.Names("volume-class"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Connect()
			if err != nil {
				return err
			}
			name := kind.Bare("volume-class", args[0])
			if err := c.Volumes.DeleteClass(cmd.Context(), name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "volume-class/%s deleted\n", name)
			return err
		},
	}
}
