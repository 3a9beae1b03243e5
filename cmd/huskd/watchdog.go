// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"husk/nodeagent/lease"
)

// watchdogCommand is the process that ends machines when the agent cannot. The agent starts it.
func watchdogCommand() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:    "watchdog",
		Short:  "End this node's machines that write volumes while the node has no lease",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(cmd, "watchdog")
			if err != nil {
				return err
			}
			return lease.Watch(cmd.Context(), stateDir, log)
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", "/var/lib/husk/agent", "directory of the agent's state")
	return cmd
}
