package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func getCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "get", Short: "Show pods, volumes or images by name or id"}
	cmd.AddCommand(
		getKind(podView, "pod", findPod),
		getKind(volumeView, "volume", findVolume),
		getKind(imageView, "image", findImage),
	)
	return group(cmd)
}

func getKind[T any](v view[T], kind string, find func(context.Context, *openapi.Client, string) (T, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   kind + " NAME|ID…",
		Short: "Show " + kind + "s by name or id",
		Args:  cobra.MinimumNArgs(1),
	}
	output := outputFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		items := make([]T, 0, len(args))
		for _, name := range args {
			item, err := find(cmd.Context(), c, name)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		return v.some(cmd.OutOrStdout(), format, items)
	}
	return cmd
}

// some prints one object bare and several as a list.
func (v view[T]) some(w io.Writer, format string, items []T) error {
	if len(items) == 1 {
		return v.one(w, format, items[0])
	}
	return v.show(w, format, items)
}
