package main

import (
	"context"
	"fmt"
	"net/http"

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
		{"LABELS", true, func(v openapi.Volume) string { return labelsText(v.Labels) }},
		{"ID", true, func(v openapi.Volume) string { return v.ID.String() }},
		{"MESSAGE", true, func(v openapi.Volume) string { return value(v.Message) }},
	},
}

var volumes = resource[openapi.Volume]{
	view: volumeView, plural: "volumes", aliases: []string{"volume", "vol"}, short: "List volumes, or watch them", labels: true,
	id:     func(v openapi.Volume) string { return v.ID.String() },
	find:   findVolume,
	ifNone: "husk volume create NAME --size 10Gi makes one",
	list: func(ctx context.Context, c *openapi.Client, q query) ([]openapi.Volume, error) {
		return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
			return c.ListVolumes(ctx, &openapi.ListVolumesParams{Limit: &pageSize, Cursor: cursor, LabelSelector: q.selector})
		}, func(l openapi.VolumeList) ([]openapi.Volume, *string) { return l.Items, l.NextCursor })
	},
	watch: func(ctx context.Context, c *openapi.Client, q query) (*http.Response, error) {
		yes := true
		return c.ListVolumes(ctx, &openapi.ListVolumesParams{Watch: &yes, LabelSelector: q.selector})
	},
}

func volumesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, volumes)
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
	labels := cmd.Flags().StringArray("label", nil, "NAME=VALUE; may be repeated")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *size == "" {
			return usagef("--size is needed, such as --size 10Gi")
		}
		order := openapi.VolumeCreate{Name: args[0]}
		if order.SizeGiB, err = parseSize("--size", *size, "Gi"); err != nil {
			return err
		}
		if order.Labels, err = parseLabels(*labels); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		volume, err := createVolume(cmd.Context(), c, order)
		if err != nil {
			return err
		}
		return volumeView.done(p, volume, "created")
	}
	return cmd
}

func createVolume(ctx context.Context, c *openapi.Client, order openapi.VolumeCreate) (openapi.Volume, error) {
	return answer[openapi.Volume](c.CreateVolume(ctx, &openapi.CreateVolumeParams{IdempotencyKey: newKey()}, order))
}
