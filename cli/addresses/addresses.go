// SPDX-License-Identifier: Apache-2.0

// Package addresses has the commands that reserve floating addresses and bind them to services and pods.
package addresses

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Parts is what the commands share with all others.
type Parts struct {
	Connect func() (*client.Client, error)
	// Output adds the flags for the format of the output.
	Output func(cmd *cobra.Command, formats ...string) func() (print.Printer, error)
	// Names completes the names of a kind.
	Names func(kind string) complete.Offer
}

// Commands makes the commands for floating addresses.
func Commands(a Parts) []*cobra.Command { return []*cobra.Command{create(a), bind(a), unbind(a)} }

// to are the flags that name a target.
type to struct {
	ports []string
	with  bool
}

func (f *to) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.ports, "port", "p", nil, "port of the pod, PORT[:POD-PORT][/udp]; may be repeated; without it, all ports")
	cmd.Flags().BoolVar(&f.with, "delete-with-target", false, "delete the address together with the service or pod")
}

// target finds service/NAME or pod/NAME. A name without a kind is a service's.
func (f *to) target(ctx context.Context, c *client.Client, name string) (*openapi.AddressTarget, error) {
	refs, err := kind.ParseRefs([]string{name})
	if err != nil {
		refs = []kind.Ref{{Kind: "service", Name: name}}
	}
	if refs[0].Kind != "service" && refs[0].Kind != "pod" {
		return nil, exit.Usagef("a floating address leads to a service or to a pod, not to %s", refs[0])
	}
	if refs[0].Kind == "service" && len(f.ports) > 0 {
		return nil, exit.Usagef("--port: the ports of a service are reached as they are; to change them, run \"husk service set\"")
	}
	ports := openapi.AddressPorts{}
	for _, text := range f.ports {
		port, err := parse.Published("--port", text, true)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	o, err := refs[0].Find(ctx, c)
	if err != nil {
		return nil, err
	}
	if refs[0].Kind == "service" {
		return &openapi.AddressTarget{ServiceID: &o.ID}, nil
	}
	return &openapi.AddressTarget{PodID: &o.ID, Ports: &ports}, nil
}

func create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME [--to SERVICE|pod/NAME]",
		Short: "Take a floating address, at which others outside reach a service or a pod",
		Long: `Take a floating address from the operator's pool. Others outside of the tenant's
networks reach its target there: a service with its ports, or a pod with all its
ports or with some. Without a target, the address is only reserved.

With all ports of a pod, the pod's own connections to others outside also have
this address.`,
		Example: "  husk address create web --to web\n" +
			"  husk address create ssh --to pod/build -p 2222:22\n" +
			"  husk address create reserved",
		Args: cobra.ExactArgs(1),
	}
	var f to
	f.add(cmd)
	at := cmd.Flags().String("to", "", "service, or pod/NAME, that is reached at the address")
	labels := cmd.Flags().StringArray("label", nil, "add a label to the address, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *at == "" && (len(f.ports) > 0 || f.with) {
			return exit.Usagef("no target given; add one, such as --to pod/NAME, or leave --port and --delete-with-target out")
		}
		address := openapi.AddressCreate{Name: args[0], DeleteWithTarget: &f.with}
		if address.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		if *at != "" {
			if address.Target, err = f.target(cmd.Context(), c, *at); err != nil {
				return err
			}
		}
		created, err := c.Addresses.Create(cmd.Context(), address)
		if err != nil {
			return err
		}
		return kind.Addresses.Done(p, created, "created")
	}
	return cmd
}

func bind(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bind NAME SERVICE|pod/NAME",
		Short:   "Let a floating address lead to another service or pod",
		Example: "  husk address bind web pod/web-2 -p 80:8080",
		Args:    cobra.ExactArgs(2), ValidArgsFunction: a.Names("address"),
	}
	var f to
	f.add(cmd)
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		return update(cmd.Context(), a, p, args[0], "bound", func(c *client.Client) (openapi.AddressUpdate, error) {
			target, err := f.target(cmd.Context(), c, args[1])
			return openapi.AddressUpdate{Target: target, DeleteWithTarget: &f.with}, err
		})
	}
	return cmd
}

func unbind(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unbind NAME",
		Short: "Keep a floating address reserved, and let it lead nowhere",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.Names("address"),
	}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		return update(cmd.Context(), a, p, args[0], "unbound", func(*client.Client) (openapi.AddressUpdate, error) {
			return openapi.AddressUpdate{Target: &openapi.AddressTarget{}}, nil
		})
	}
	return cmd
}

func update(ctx context.Context, a Parts, p print.Printer, name, done string, change func(c *client.Client) (openapi.AddressUpdate, error)) error {
	c, err := a.Connect()
	if err != nil {
		return err
	}
	u, err := change(c)
	if err != nil {
		return err
	}
	found, err := c.Addresses.Find(ctx, kind.Bare("address", name))
	if err != nil {
		return err
	}
	changed, err := c.Addresses.Update(ctx, found.ID, u, false)
	if err != nil {
		return err
	}
	return kind.Addresses.Done(p, changed, done)
}

// Publication publishes ports of a new pod at an address that is deleted with the pod.
type Publication struct {
	client  *client.Client
	ports   openapi.AddressPorts
	address openapi.Address
}

// Reserve takes the address before there is a pod, so that a pod without an address never runs. Without ports, there is nothing to publish.
func Reserve(ctx context.Context, c *client.Client, pod string, ports openapi.AddressPorts) (*Publication, error) {
	p := &Publication{client: c, ports: ports}
	if len(ports) == 0 {
		return p, nil
	}
	var err error
	p.address, err = c.Addresses.Create(ctx, openapi.AddressCreate{Name: pod})
	return p, err
}

// Bind lets the address lead to the pod. It returns where each port is reached.
func (p *Publication) Bind(ctx context.Context, pod uuid.UUID) (reached []string, err error) {
	if len(p.ports) == 0 {
		return nil, nil
	}
	bound, err := p.client.Addresses.Update(ctx, p.address.ID, openapi.AddressUpdate{
		Target: &openapi.AddressTarget{PodID: &pod, Ports: &p.ports}, DeleteWithTarget: new(true),
	}, false)
	if err != nil {
		return nil, err // Cancel needs the address
	}
	p.address = bound
	return kind.Reached(p.address.Status.Address, openapi.Value(p.address.Target.Ports)), nil
}

// Cancel gives the address back, because there is no pod.
func (p *Publication) Cancel(ctx context.Context) error {
	if len(p.ports) == 0 {
		return nil
	}
	return p.client.Addresses.Delete(context.WithoutCancel(ctx), p.address.ID)
}
