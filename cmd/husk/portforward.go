package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"husk/openapi"
	"husk/session"
)

func portForwardCommand(a *app) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "port-forward POD [LOCAL:]REMOTE…",
		Short: "Make ports of a pod reachable here",
		Long: `Listen on local ports and pass each connection on to a port in the pod, until
Ctrl-C. The port is looked for on the pod's loopback, then on its own address.
LOCAL is REMOTE if left out, and any free port if 0.`,
		Example: `  husk port-forward web 8080:80
  husk port-forward db 5432`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeNames("pod"),
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1", "the local address to listen on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var ports []forwarding
		for _, arg := range args[1:] {
			p, err := parseForwarding(arg)
			if err != nil {
				return err
			}
			ports = append(ports, p)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		pod, err := findPod(cmd.Context(), c, bare("pod", args[0]))
		if err != nil {
			return err
		}
		return a.forward(cmd.Context(), c, pod, address, ports)
	}
	return cmd
}

type forwarding struct{ local, remote int }

func parseForwarding(text string) (forwarding, error) {
	local, remote, both := strings.Cut(text, ":")
	if !both {
		remote = local
	}
	l, err1 := strconv.ParseUint(local, 10, 16)
	r, err2 := strconv.ParseUint(remote, 10, 16)
	if err1 != nil || err2 != nil || r == 0 {
		return forwarding{}, usagef("%q is not [LOCAL:]REMOTE, such as 8080:80", text)
	}
	return forwarding{int(l), int(r)}, nil
}

// forward serves until ctx ends.
func (a *app) forward(ctx context.Context, c *openapi.Client, pod openapi.Pod, address string, ports []forwarding) error {
	ctx, stop := context.WithCancel(ctx)
	var listeners []net.Listener
	var told sync.Mutex
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
			return fmt.Errorf("listen for port %d of %s: %w", p.remote, podView.ref(pod), err)
		}
		listeners = append(listeners, l)
		if _, err := fmt.Fprintf(a.out, "Forwarding %s to port %d of %s\n", l.Addr(), p.remote, podView.ref(pod)); err != nil {
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
					if err := carry(ctx, c, pod, p.remote, local); err != nil && ctx.Err() == nil {
						told.Lock()
						defer told.Unlock()
						fmt.Fprintf(a.errs, "husk: port %d: %s\n", p.remote, clean(err.Error()))
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

// carry passes one connection on.
func carry(ctx context.Context, c *openapi.Client, pod openapi.Pod, port int, local net.Conn) error {
	defer local.Close()
	req, err := openapi.NewForwardPodPortRequest(c.Server, pod.ID, &openapi.ForwardPodPortParams{Port: port})
	conn, err := dial(ctx, c, req, err)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { local.Close(); conn.Close() })
	defer stop()
	go func() {
		buf := make([]byte, session.Chunk)
		for {
			n, err := local.Read(buf)
			if n > 0 && conn.Send(session.Stdin, buf[:n]) != nil {
				return // whoever receives says why
			}
			if errors.Is(err, io.EOF) {
				_ = conn.Send(session.EOF, nil) //nolint:errcheck // as above
				return
			}
			if err != nil {
				conn.Close()
				return
			}
		}
	}()
	for {
		f, err := conn.Receive()
		if err != nil {
			return brokeOff(err)
		}
		switch f.Kind {
		case session.Stdout:
			if _, err := local.Write(f.Payload); err != nil {
				return nil //nolint:nilerr // the program here has had enough
			}
		case session.EOF:
			if half, ok := local.(*net.TCPConn); ok {
				if err := half.CloseWrite(); err != nil {
					return nil //nolint:nilerr // as above
				}
			}
		case session.Problem:
			return fault(f.Payload)
		case session.Exit:
			return nil
		default:
		}
	}
}
