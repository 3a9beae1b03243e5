// SPDX-License-Identifier: Apache-2.0

// Package ingresses has the commands that create and change ingresses, and that show their requests.
package ingresses

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

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
	Out   io.Writer
}

// Commands makes the commands for ingresses.
func Commands(a Parts) []*cobra.Command { return []*cobra.Command{create(a), set(a), requests(a)} }

// Rules reads rules of the form HOST[/PATH[$]]=SERVICE:PORT. A path that ends with $ is exact. Rules with the same host become one.
func Rules(texts []string) (openapi.IngressRules, error) {
	var rules openapi.IngressRules
	for _, text := range texts {
		from, to, ok := strings.Cut(text, "=")
		service, number, hasPort := strings.Cut(to, ":")
		port, err := strconv.Atoi(number)
		if !ok || !hasPort || err != nil || from == "" || service == "" {
			return nil, exit.Usagef("--rule: %q is not HOST[/PATH]=SERVICE:PORT, such as www.example.com/api=api:8080", text)
		}
		host, rest, below := strings.Cut(from, "/")
		path := openapi.IngressPath{Service: service, Port: port}
		if below && rest != "" {
			rest, exact := strings.CutSuffix(rest, "$")
			path.Path = new("/" + rest)
			if exact {
				path.Exact = &exact
			}
		}
		at := slices.IndexFunc(rules, func(r openapi.IngressRule) bool { return r.Host == host })
		if at < 0 {
			rules = append(rules, openapi.IngressRule{Host: host})
			at = len(rules) - 1
		}
		rules[at].Paths = append(rules[at].Paths, path)
	}
	return rules, nil
}

func create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --rule HOST[/PATH]=SERVICE:PORT",
		Short: "Create an ingress: hosts that reach services over HTTPS",
		Long: `Create an ingress. Requests for a host, and for a path and all below it, go to the
service of the rule with the longest path. A path that ends with $ applies to no
other path. The platform gets certificates for the hosts. Their names must lead to
the addresses that "husk ingresses -o wide" shows.`,
		Example: "  husk ingress create shop --rule www.example.com=web:80 \\\n    --rule www.example.com/api=api:8080",
		Args:    cobra.ExactArgs(1),
	}
	rules := cmd.Flags().StringArray("rule", nil, "host, path, service and port; may be repeated")
	hsts := cmd.Flags().Int("hsts", 0, "seconds for which browsers refuse plain HTTP to the hosts")
	labels := cmd.Flags().StringArray("label", nil, "add a label to the ingress, NAME=VALUE; may be repeated")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(*rules) == 0 {
			return exit.Usagef("no rule given; add one, such as --rule www.example.com=%s:80", args[0])
		}
		ingress := openapi.IngressCreate{Name: args[0], HstsSeconds: hsts}
		if ingress.Rules, err = Rules(*rules); err != nil {
			return err
		}
		if ingress.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		created, err := c.Ingresses.Create(cmd.Context(), ingress)
		if err != nil {
			return err
		}
		return kind.Ingresses.Done(p, created, "created")
	}
	return cmd
}

func set(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "set NAME [--rule HOST[/PATH]=SERVICE:PORT] [--hsts SECONDS]",
		Short:   "Replace the rules of an ingress, or change its HSTS",
		Example: "  husk ingress set shop --rule www.example.com=web:80 --hsts 31536000",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("ingress"),
	}
	rules := cmd.Flags().StringArray("rule", nil, "host, path, service and port; may be repeated; replaces all rules")
	hsts := cmd.Flags().Int("hsts", 0, "seconds for which browsers refuse plain HTTP to the hosts; 0: they do not")
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		var u openapi.IngressUpdate
		if len(*rules) > 0 {
			all, err := Rules(*rules)
			if err != nil {
				return err
			}
			u.Rules = &all
		}
		if cmd.Flags().Changed("hsts") {
			u.HstsSeconds = hsts
		}
		if u == (openapi.IngressUpdate{}) {
			return exit.Usagef("nothing to change; add --rule or --hsts")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		found, err := c.Ingresses.Find(cmd.Context(), kind.Bare("ingress", args[0]))
		if err != nil {
			return err
		}
		changed, err := c.Ingresses.Update(cmd.Context(), found.ID, u, false)
		if err != nil {
			return err
		}
		return kind.Ingresses.Done(p, changed, "changed")
	}
	return cmd
}

// pollEvery is how often new requests are asked for.
const pollEvery = time.Second

func requests(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "requests NAME",
		Aliases: []string{"logs"},
		Short:   "Show the latest requests to an ingress",
		Long: `Show the latest requests to an ingress, oldest first: time, client, method, host and
path, status, bytes sent, duration, and why the platform has responded itself.

Clients choose much of what is here.`,
		Example: "  husk ingress requests shop --tail 20 -f",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.Names("ingress"),
	}
	tail := cmd.Flags().Int("tail", 100, "how many requests to show, at most 1000")
	follow := cmd.Flags().BoolP("follow", "f", false, "show new requests until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *tail < 1 || *tail > 1000 {
			return exit.Usagef("--tail: %d is not 1 to 1000", *tail)
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		found, err := c.Ingresses.Find(cmd.Context(), kind.Bare("ingress", args[0]))
		if err != nil {
			return err
		}
		return show(cmd.Context(), c, found.ID, *tail, *follow, a.Out)
	}
	return cmd
}

func show(ctx context.Context, c *client.Client, id uuid.UUID, tail int, follow bool, out io.Writer) error {
	last, limit := int64(0), tail
	for {
		all, err := c.Ingresses.Requests(ctx, id, last, limit)
		if err != nil {
			return err
		}
		for _, r := range all {
			last = r.ID
			line := fmt.Sprintf("%s %s %s %s%s %d %d %dms %s", r.At.UTC().Format(time.RFC3339), r.Client, r.Method, r.Host, r.Path, r.Status, r.SentBytes, r.Milliseconds, strconv.Quote(r.Agent))
			if note := openapi.Value(r.Note); note != "" {
				line += " (" + note + ")"
			}
			if _, err := fmt.Fprintln(out, print.Clean(line)); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		limit = 1000
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pollEvery):
		}
	}
}
