package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var volumeView = view[openapi.Volume]{
	kind: "volume",
	name: func(v openapi.Volume) string { return v.Name },
	columns: []column[openapi.Volume]{
		{"NAME", false, func(v openapi.Volume) string { return v.Name }},
		{"STATE", false, func(v openapi.Volume) string { return string(v.State) }},
		{"SIZE", false, func(v openapi.Volume) string { return fmt.Sprintf("%dGi", v.SizeGiB) }},
		{"AGE", false, func(v openapi.Volume) string { return age(v.CreatedAt) }},
		{"POD", true, func(v openapi.Volume) string {
			if v.PodID == nil {
				return ""
			}
			return v.PodID.String()
		}},
		{"ID", true, func(v openapi.Volume) string { return v.ID.String() }},
		{"MESSAGE", true, func(v openapi.Volume) string { return value(v.Message) }},
	},
}

func volumesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "volumes", Short: "List volumes", Args: cobra.NoArgs}
	output := outputFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		volumes, err := listVolumes(cmd.Context(), c, nil)
		if err != nil {
			return err
		}
		return volumeView.show(cmd.OutOrStdout(), format, volumes)
	}
	return cmd
}

func volumeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "volume", Short: "Create volumes"}
	create := &cobra.Command{
		Use:     "create NAME --size SIZE",
		Short:   "Create a volume with an empty file system",
		Example: "  husk volume create data --size 10Gi",
		Args:    cobra.ExactArgs(1),
	}
	size := create.Flags().String("size", "", "size in whole GiB, such as 10Gi")
	output := outputFlag(create, "text")
	create.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		if *size == "" {
			return usagef("--size is needed, such as --size 10Gi")
		}
		gib, err := parseSize("--size", *size, "Gi")
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		volume, err := answer[openapi.Volume](c.CreateVolume(cmd.Context(), &openapi.CreateVolumeParams{IdempotencyKey: newKey()},
			openapi.VolumeCreate{Name: args[0], SizeGiB: gib}))
		if err != nil {
			return err
		}
		if format == "text" {
			fmt.Fprintf(cmd.OutOrStdout(), "volume %s created\n", volume.Name)
			return nil
		}
		return volumeView.one(cmd.OutOrStdout(), format, volume)
	}
	cmd.AddCommand(create)
	return group(cmd)
}

// group is a command that does nothing itself: without one of its own commands, or with a wrong one, the line is wrong.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("there is no command %q", cmd.CommandPath()+" "+args[0])
		}
		return usagef("%s needs a command: %s", cmd.CommandPath(), cmd.Commands()[0].Use)
	}
	return cmd
}
