// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"husk/cli/kind"
	"husk/cli/parse"
	"husk/client"
	"husk/openapi"
)

func portForwardCommand(a *app) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "port-forward POD [LOCAL:]REMOTE…",
		Short: "Forward local ports to a pod",
		Long: `Listen on local ports and forward each connection to a port of the pod, until
Ctrl-C. Husk connects to the port on the pod's loopback address or, if nothing
listens there, on the pod's network address. If LOCAL is left out, it is the same as
REMOTE. If LOCAL is 0, the system chooses a free port.`,
		Example: `  husk port-forward web 8080:80
  husk port-forward db 5432`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.offers().Names("pod"),
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1", "local address to listen on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var ports []forwarding
		for _, arg := range args[1:] {
			local, remote, err := parse.Port(arg)
			if err != nil {
				return err
			}
			ports = append(ports, forwarding{local, remote})
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		return a.forward(cmd.Context(), c, pod, address, ports)
	}
	return cmd
}

type forwarding struct{ local, remote int }

// forward serves until ctx ends.
func (a *app) forward(ctx context.Context, c *client.Client, pod openapi.Pod, address string, ports []forwarding) error {
	ctx, stop := context.WithCancel(ctx)
	var listeners []net.Listener
	var printing sync.Mutex
	var connections sync.WaitGroup
	defer func() {
		stop()
		for _, l := range listeners {
			l.Close()
		}
		connections.Wait()
	}()
	failed := make(chan error, len(ports))
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(p.local)))
		if err != nil {
			return fmt.Errorf("listen for port %d of %s: %w", p.remote, kind.Pods.Ref(pod), err)
		}
		listeners = append(listeners, l)
		if _, err := fmt.Fprintf(a.out, "Forwarding %s to port %d of %s\n", l.Addr(), p.remote, kind.Pods.Ref(pod)); err != nil {
			return err
		}
		connections.Go(func() {
			for {
				local, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				connections.Go(func() {
					if err := c.Pods.Forward(ctx, pod.ID, p.remote, local); err != nil && ctx.Err() == nil {
						printing.Lock()
						defer printing.Unlock()
						a.warn(fmt.Errorf("port %d: %w", p.remote, err))
					}
				})
			}
		})
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}
