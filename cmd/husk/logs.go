package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func logsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs POD [CONTAINER]",
		Short: "Print the log of a container",
		Args:  cobra.RangeArgs(1, 2),
	}
	fs := cmd.Flags()
	follow := fs.BoolP("follow", "f", false, "go on with new lines")
	tail := fs.Int("tail", -1, "only the last so many lines (default: all)")
	timestamps := fs.Bool("timestamps", false, "put the time before each line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		params := openapi.GetPodLogsParams{Follow: follow, Timestamps: timestamps}
		if cmd.Flags().Changed("tail") {
			if *tail < 0 {
				return usagef("--tail: %d is below 0", *tail)
			}
			params.Tail = tail
		}
		if len(args) == 2 {
			params.Container = &args[1]
		}
		c, err := connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		resp, err := c.GetPodLogs(cmd.Context(), pod.ID, &params)
		if err := checked(resp, err); err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			return fmt.Errorf("the log broke off: %w", err)
		}
		return nil
	}
	return cmd
}
