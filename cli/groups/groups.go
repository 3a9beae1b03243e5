// SPDX-License-Identifier: Apache-2.0

// Package groups has the commands that create and change security groups.
package groups

import (
	"slices"

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

// Commands makes the commands for security groups.
func Commands(a Parts) []*cobra.Command {
	return []*cobra.Command{create(a), set(a), assign(a), traffic(a)}
}

// flags are those of both commands.
type flags struct {
	in, out   []string
	selector  string
	restricts string
	cmd       *cobra.Command
}

func (f *flags) add(cmd *cobra.Command) {
	f.cmd = cmd
	fs := cmd.Flags()
	fs.StringArrayVar(&f.in, "allow-in", nil, "allow connections to the pods, PROTOCOL[/PORTS][=PEERS]; may be repeated")
	fs.StringArrayVar(&f.out, "allow-out", nil, "allow connections that the pods begin, in the same form; may be repeated")
	fs.StringVarP(&f.selector, "selector", "l", "", "labels of more pods that are in the group, such as app=web")
	fs.StringVar(&f.restricts, "restrict", "", "where only rules allow connections: in, out, both or none (default: in, and out if there are rules about it)")
}

// update returns what the flags say.
func (f *flags) update() (openapi.SecurityGroupUpdate, error) {
	var u openapi.SecurityGroupUpdate
	if f.cmd.Flags().Changed("selector") {
		u.Selector = &f.selector
	}
	if len(f.in)+len(f.out) > 0 {
		rules := openapi.SecurityRules{}
		for _, text := range f.in {
			r, err := parse.SecurityRule("--allow-in", text, openapi.SecurityRuleDirectionIngress)
			if err != nil {
				return u, err
			}
			rules = append(rules, r)
		}
		for _, text := range f.out {
			r, err := parse.SecurityRule("--allow-out", text, openapi.SecurityRuleDirectionEgress)
			if err != nil {
				return u, err
			}
			rules = append(rules, r)
		}
		u.Rules = &rules
	}
	if f.restricts != "" {
		restricts, known := map[string]openapi.GroupRestricts{"in": {"ingress"}, "out": {"egress"}, "both": {"ingress", "egress"}, "none": {}}[f.restricts]
		if !known {
			return u, exit.Usagef("--restrict: %q is not in, out, both or none", f.restricts)
		}
		u.Restricts = &restricts
	}
	return u, nil
}

const ruleForm = `A rule is PROTOCOL[/PORTS][=PEERS]. PROTOCOL is tcp, udp, icmp or any. PORTS are
numbers and ranges, and PEERS are names of groups and blocks of addresses, both
with commas in between: tcp/80,8000-8010=web,198.51.100.0/24. Without ports, a rule
allows all ports, and without peers everybody.`

func create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME [--allow-in RULE] [--allow-out RULE]",
		Short: "Create a security group: rules about the connections of pods",
		Long: `Create a security group. The pods in it are those that name it, and those with the
labels of its selector. They get only connections that a rule of one of their
groups allows. What they begin is restricted if a group has rules about that.

` + ruleForm,
		Example: "  husk security-group create web --selector app=web --restrict none\n" +
			"  husk security-group create db --selector app=db --allow-in tcp/5432=web",
		Args: cobra.ExactArgs(1),
	}
	var f flags
	f.add(cmd)
	labels := cmd.Flags().StringArray("label", nil, "add a label to the group, NAME=VALUE; may be repeated")
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
		group := openapi.SecurityGroupCreate{Name: args[0], Selector: u.Selector, Restricts: u.Restricts, Rules: u.Rules}
		if group.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		created, err := c.SecurityGroups.Create(cmd.Context(), group)
		if err != nil {
			return err
		}
		return kind.SecurityGroups.Done(p, created, "created")
	}
	return cmd
}

func set(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME [--allow-in RULE] [--allow-out RULE]",
		Short: "Replace the rules, the selector or the restrictions of a security group",
		Long: `Replace the rules, the selector or the restrictions of a security group. New rules
replace all old ones. The change is in force within a second, also for connections
that exist already.

` + ruleForm,
		Example: "  husk security-group set db --allow-in tcp/5432=web --allow-in icmp\n" +
			"  husk security-group set db --no-rules",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.Names("security-group"),
	}
	var f flags
	f.add(cmd)
	none := cmd.Flags().Bool("no-rules", false, "remove all rules")
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
		case *none && u.Rules != nil:
			return exit.Usagef("--no-rules: leave it or the rules out")
		case *none:
			u.Rules = &openapi.SecurityRules{}
		case u == (openapi.SecurityGroupUpdate{}):
			return exit.Usagef("nothing to change; add --allow-in, --allow-out, --no-rules, --selector or --restrict")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		found, err := c.SecurityGroups.Find(cmd.Context(), kind.Bare("security-group", args[0]))
		if err != nil {
			return err
		}
		changed, err := c.SecurityGroups.Update(cmd.Context(), found.ID, u, false)
		if err != nil {
			return err
		}
		return kind.SecurityGroups.Done(p, changed, "changed")
	}
	return cmd
}

func assign(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assign POD [GROUP…]",
		Short: "Set the security groups that a pod names, also while it runs",
		Long: `Set the security groups that a pod names, also while it runs. These replace the
groups that it has named before. Without any, only the groups whose selectors
select the pod count.`,
		Example: "  husk security-group assign web-1 web admin",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.Names("pod"),
	}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		groups := openapi.SecurityGroupNames{}
		for _, name := range kind.BareNames("security-group", args[1:]) {
			if !slices.Contains(groups, name) {
				groups = append(groups, name)
			}
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		pod, err := kind.FindPod(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		changed, err := c.Pods.Update(cmd.Context(), pod.ID, openapi.PodUpdate{SecurityGroups: &groups})
		if err != nil {
			return err
		}
		return kind.Pods.Done(p, changed, "changed")
	}
	return cmd
}

func traffic(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "traffic NAME",
		Short: "Show what a security group has allowed and dropped",
		Long: `Show how many packets each rule of a security group has allowed, without the
answers, how many the group has dropped, and the latest of those. Nodes report this
every 10 s.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.Names("security-group"),
	}
	output := a.Output(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		group, err := c.SecurityGroups.Find(cmd.Context(), kind.Bare("security-group", args[0]))
		if err != nil {
			return err
		}
		t, err := c.SecurityGroups.Traffic(cmd.Context(), group.ID)
		if err != nil {
			return err
		}
		if printed, err := p.Value(t); printed {
			return err
		}
		return kind.DescribeTraffic(p.Out, group, t)
	}
	return cmd
}
