// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/simulated"
	"husk/openapi"
)

// simulatedBoot is how long a pod takes to start on a simulated node.
const simulatedBoot = time.Second

// simulate adds simulated nodes to an installation. It returns a function that stops their agents.
func (in installation) simulate(ctx context.Context) (stop func(), err error) {
	if in.flags.simulatedNodes == 0 {
		return func() {}, nil
	}
	server := in.flags.apiForAgents
	if in.flags.isFleet() {
		server = netip.AddrPortFrom(in.stack.EntryAddr(), fleetForAgents).String()
	}
	began := time.Now()
	fleet, err := simulated.Join(ctx, simulated.Config{
		ServerURL: "https://" + server, Nodes: in.flags.simulatedNodes, NodeName: "simulated-", Dir: filepath.Join(in.stack.StateDir(), "simulated"),
		Capacity: husk.Resources{CPUMillis: 64_000, MemoryMiB: 256 << 10}, BootTime: simulatedBoot, Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("part", "simulated"),
		Token: func(ctx context.Context, node *uuid.UUID) (string, error) {
			token, err := in.operator.Nodes.CreateJoinToken(ctx, openapi.JoinTokenCreate{NodeID: node})
			return token.Token, err
		},
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%d simulated nodes have joined in %.1f s\n", in.flags.simulatedNodes, time.Since(began).Seconds())
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- fleet.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, "simulated nodes:", err)
		}
	}, nil
}
