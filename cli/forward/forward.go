// SPDX-License-Identifier: Apache-2.0

// Package forward has the command that forwards local ports to pods and services.
package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/client"
	"husk/openapi"
)

// Parts is what the command shares with all others.
type Parts struct {
	Connect func() (*client.Client, error)
	Out     func() io.Writer
	Warn    func(err error)
	// Names completes the names of a kind.
	Names func(kind string) complete.Offer
}

// Command makes the command.
func Command(a Parts) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "port-forward POD|service/NAME [LOCAL:]REMOTE…",
		Short: "Forward local ports to a pod or a service",
		Long: `Listen on local ports and forward each connection to a port of the pod, until
Ctrl-C. Husk connects to the port on the pod's loopback address or, if nothing
listens there, on the pod's network address. If LOCAL is left out, it is the same as
REMOTE. If LOCAL is 0, the system chooses a free port.

With service/NAME, REMOTE is a TCP port of the service. Each connection goes to the
next one of its ready pods.`,
		Example: `  husk port-forward web 8080:80
  husk port-forward service/web 8080:80
  husk port-forward db 5432`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.Names("pod"),
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
		c, err := a.Connect()
		if err != nil {
			return err
		}
		to, err := find(cmd.Context(), c, args[0], ports)
		if err != nil {
			return err
		}
		return a.forward(cmd.Context(), to, address, ports)
	}
	return cmd
}

type forwarding struct{ local, remote int }

// target is what connections go to.
type target struct {
	ref     string
	connect func(ctx context.Context, port int, local net.Conn) error
}

func find(ctx context.Context, c *client.Client, name string, ports []forwarding) (target, error) {
	word, bare, _ := strings.Cut(name, "/")
	if of, known := kind.Of(word); known && of == "service" && bare != "" {
		return findService(ctx, c, bare, ports)
	}
	pod, err := kind.FindPod(ctx, c, name)
	if err != nil {
		return target{}, err
	}
	return target{kind.Pods.Ref(pod), func(ctx context.Context, port int, local net.Conn) error {
		return c.Pods.Forward(ctx, pod.ID, port, local)
	}}, nil
}

func findService(ctx context.Context, c *client.Client, name string, ports []forwarding) (target, error) {
	s, err := c.Services.Find(ctx, name)
	if err != nil {
		return target{}, err
	}
	for _, p := range ports {
		if _, err := targetPort(s, p.remote); err != nil {
			return target{}, err
		}
	}
	var next atomic.Int64
	return target{kind.Services.Ref(s), func(ctx context.Context, port int, local net.Conn) error {
		now, err := c.Services.Get(ctx, s.ID) // its pods and ports may have changed
		if err != nil {
			return err
		}
		remote, err := targetPort(now, port)
		if err != nil {
			return err
		}
		var ready []openapi.ServiceEndpoint
		for _, e := range now.Status.Endpoints {
			if e.Ready {
				ready = append(ready, e)
			}
		}
		if len(ready) == 0 {
			return exit.ConflictError{Detail: fmt.Sprintf("%s has no ready pods", kind.Services.Ref(s))}
		}
		return c.Pods.Forward(ctx, ready[int(next.Add(1)-1)%len(ready)].PodID, remote, local)
	}}, nil
}

// targetPort returns the port of the pods behind a port of the service.
func targetPort(s openapi.Service, port int) (int, error) {
	var tcp []string
	for _, p := range s.Ports {
		if openapi.Value(p.Protocol) == openapi.ServicePortProtocolUDP {
			continue
		}
		if p.Port == port {
			return openapi.Value(p.TargetPort), nil
		}
		tcp = append(tcp, strconv.Itoa(p.Port))
	}
	if len(tcp) == 0 {
		return 0, exit.Usagef("%s has no TCP port; forward to one of its pods", kind.Services.Ref(s))
	}
	return 0, exit.Usagef("%s has no TCP port %d; it has %s", kind.Services.Ref(s), port, strings.Join(tcp, ", "))
}

// forward serves until ctx ends.
func (a Parts) forward(ctx context.Context, to target, address string, ports []forwarding) error {
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
			return fmt.Errorf("listen for port %d of %s: %w", p.remote, to.ref, err)
		}
		listeners = append(listeners, l)
		if _, err := fmt.Fprintf(a.Out(), "Forwarding %s to port %d of %s\n", l.Addr(), p.remote, to.ref); err != nil {
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
					defer local.Close()
					if err := to.connect(ctx, p.remote, local); err != nil && ctx.Err() == nil {
						printing.Lock()
						defer printing.Unlock()
						a.Warn(fmt.Errorf("port %d: %w", p.remote, err))
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
