// SPDX-License-Identifier: Apache-2.0

// Package services has the commands that create and change services.
package services

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// Commands makes the commands for services.
func Commands(a Parts) []*cobra.Command { return []*cobra.Command{create(a), set(a)} }

// flags are those of both commands.
type flags struct {
	selector, affinity string
	ports              []string
	groups             []string
	timeout            int
	set                *pflag.FlagSet
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.StringVarP(&f.selector, "selector", "l", "", "labels of the pods, such as app=web,tier!=test")
	fs.StringArrayVarP(&f.ports, "port", "p", nil, "port, [NAME=]PORT[:POD-PORT][/udp]; may be repeated")
	fs.StringVar(&f.affinity, "affinity", "", "client: all connections of a client go to the same pod")
	f.set = fs
	fs.StringSliceVar(&f.groups, "security-group", nil, "security group of all its pods; may be repeated")
	fs.IntVar(&f.timeout, "affinity-timeout", 0, "seconds for which a client keeps its pod (default 10800)")
}

// update returns what the flags say.
func (f *flags) update() (openapi.ServiceUpdate, error) {
	var u openapi.ServiceUpdate
	if f.selector != "" {
		u.Selector = &f.selector
	}
	if len(f.ports) > 0 {
		ports := openapi.ServicePorts{}
		for _, text := range f.ports {
			port, err := parse.ServicePort(text)
			if err != nil {
				return u, err
			}
			ports = append(ports, port)
		}
		u.Ports = &ports
	}
	switch affinity := openapi.ServiceAffinity(f.affinity); affinity {
	case "":
	case openapi.ServiceAffinityNone, openapi.ServiceAffinityClient:
		u.Affinity = &affinity
	default:
		return u, exit.Usagef("--affinity: %q is not none or client", f.affinity)
	}
	if f.set.Changed("security-group") {
		u.SecurityGroups = new(slices.DeleteFunc(append(openapi.ServiceSecurityGroups{}, f.groups...), func(name string) bool { return name == "" }))
	}
	if f.timeout != 0 {
		u.AffinityTimeoutSeconds = &f.timeout
	}
	return u, nil
}

func create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --selector LABELS --port PORT",
		Short: "Create a service: one name and one address for several pods",
		Long: `Create a service. It has a name and a virtual address, which stay when pods change.
Connections to them go to the ready pods with the labels of the selector.

A headless service has no address: its name stands for the addresses of the pods.`,
		Example: "  husk service create web --selector app=web --port http=80:8080\n" +
			"  husk service create db --selector app=db --headless",
		Args: cobra.ExactArgs(1),
	}
	var f flags
	f.add(cmd.Flags())
	headless := cmd.Flags().Bool("headless", false, "give the service no virtual address")
	labels := cmd.Flags().StringArray("label", nil, "add a label to the service, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		u, err := f.update()
		switch {
		case err != nil:
			return err
		case u.Selector == nil:
			return exit.Usagef("no selector given; add one, such as --selector app=%s", args[0])
		case u.Ports == nil && !*headless:
			return exit.Usagef("no port given; add one, such as --port 80, or --headless")
		}
		service := openapi.ServiceCreate{
			Name: args[0], Selector: *u.Selector, Ports: u.Ports, Affinity: u.Affinity, AffinityTimeoutSeconds: u.AffinityTimeoutSeconds, Headless: headless,
			SecurityGroups: u.SecurityGroups,
		}
		if service.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		created, err := c.Services.Create(cmd.Context(), service)
		if err != nil {
			return err
		}
		return kind.Services.Done(p, created, "created")
	}
	return cmd
}

func set(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "set NAME [--selector LABELS] [--port PORT]",
		Short:   "Change the selector, the ports, the affinity or the security groups of a service",
		Example: "  husk service set web --selector app=web,track=stable",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("service"),
	}
	var f flags
	f.add(cmd.Flags())
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		u, err := f.update()
		if err != nil {
			return err
		}
		if u == (openapi.ServiceUpdate{}) {
			return exit.Usagef("nothing to change; add --selector, --port, --security-group, --affinity or --affinity-timeout")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		found, err := c.Services.Find(cmd.Context(), kind.Bare("service", args[0]))
		if err != nil {
			return err
		}
		changed, err := c.Services.Update(cmd.Context(), found.ID, u, false)
		if err != nil {
			return err
		}
		return kind.Services.Done(p, changed, "changed")
	}
	return cmd
}
