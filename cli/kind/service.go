// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Services give several pods one name and one address.
var Services = Kind[openapi.Service]{
	View: print.View[openapi.Service]{
		Kind: "service", Document: "Service",
		Name: func(s openapi.Service) string { return s.Name },
		Columns: []print.Column[openapi.Service]{
			print.Col("NAME", func(s openapi.Service) string { return s.Name }),
			print.Col("ADDRESS", func(s openapi.Service) string {
				if s.Headless {
					return "headless"
				}
				return openapi.Value(s.Status.Address)
			}),
			print.Col("PORTS", func(s openapi.Service) string { return servicePorts(s.Ports) }),
			print.Col("READY", func(s openapi.Service) string {
				return fmt.Sprintf("%d/%d", s.Status.ReadyEndpoints, s.Status.ReadyEndpoints+s.Status.NotReadyEndpoints)
			}),
			print.Col("SELECTOR", func(s openapi.Service) string { return s.Selector }),
			print.Col("AGE", func(s openapi.Service) string { return print.Age(s.CreatedAt) }),
			print.WideCol("ENDPOINTS", func(s openapi.Service) string {
				var ready []string
				for _, e := range s.Status.Endpoints {
					if e.Ready {
						ready = append(ready, e.Address)
					}
				}
				return strings.Join(ready, ",")
			}),
			print.WideCol("GROUPS", func(s openapi.Service) string { return strings.Join(openapi.Value(s.SecurityGroups), ",") }),
			print.WideCol("AFFINITY", func(s openapi.Service) string { return string(s.Affinity) }),
			print.WideCol("LABELS", func(s openapi.Service) string { return print.Labels(s.Labels) }),
			print.WideCol("ID", func(s openapi.Service) string { return s.ID.String() }),
		},
	},
	Plural: "services", Aliases: []string{"service", "svc"}, Short: "List or watch services: one name and one address for several pods", Labels: true,
	ID: func(s openapi.Service) string { return s.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Service, error) {
		return c.Services.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk service create NAME --selector app=web --port 80\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Service, error] {
		return c.Services.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Service], error] {
		return c.Services.Watch(ctx, o)
	},
}

// servicePorts writes ports as 80->8080/TCP.
func servicePorts(ports openapi.ServicePorts) string {
	all := make([]string, 0, len(ports))
	for _, p := range ports {
		text := fmt.Sprint(p.Port)
		if to := openapi.Value(p.TargetPort); to != p.Port {
			text += fmt.Sprintf("->%d", to)
		}
		all = append(all, text+"/"+string(openapi.Value(p.Protocol)))
	}
	return strings.Join(all, ",")
}

// Addresses are floating addresses.
var Addresses = Kind[openapi.Address]{
	View: print.View[openapi.Address]{
		Kind: "address", Document: "Address",
		Name: func(a openapi.Address) string { return a.Name },
		Columns: []print.Column[openapi.Address]{
			print.Col("NAME", func(a openapi.Address) string { return a.Name }),
			print.Col("ADDRESS", func(a openapi.Address) string { return a.Status.Address }),
			print.Col("TARGET", addressTarget),
			print.Col("PORTS", func(a openapi.Address) string {
				switch {
				case a.Target == nil:
					return ""
				case a.Target.ServiceID != nil:
					return "the service's"
				default:
					return publishedPorts(openapi.Value(a.Target.Ports))
				}
			}),
			print.Col("AGE", func(a openapi.Address) string { return print.Age(a.CreatedAt) }),
			print.WideCol("DELETED WITH TARGET", func(a openapi.Address) string { return strconv.FormatBool(a.DeleteWithTarget) }),
			print.WideCol("LABELS", func(a openapi.Address) string { return print.Labels(a.Labels) }),
			print.WideCol("ID", func(a openapi.Address) string { return a.ID.String() }),
		},
	},
	Plural: "addresses", Aliases: []string{"address", "addr"}, Short: "List or watch floating addresses: what others outside reach", Labels: true,
	ID: func(a openapi.Address) string { return a.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Address, error) {
		return c.Addresses.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk address create NAME --to SERVICE\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Address, error] {
		return c.Addresses.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Address], error] {
		return c.Addresses.Watch(ctx, o)
	},
}

func addressTarget(a openapi.Address) string {
	switch {
	case a.Target == nil:
		return ""
	case a.Target.ServiceID != nil:
		return "service/" + openapi.Value(a.Status.TargetName)
	default:
		return "pod/" + openapi.Value(a.Status.TargetName)
	}
}

// publishedPorts writes ports as 80->8080/TCP.
func publishedPorts(ports openapi.AddressPorts) string {
	if len(ports) == 0 {
		return "all"
	}
	return strings.Join(Reached("", ports), ",")
}

// Reached says where each port of an address is reached, and to which port of the pod it leads: 203.0.113.7:80->8080/TCP.
func Reached(address string, ports openapi.AddressPorts) []string {
	all := make([]string, 0, len(ports))
	for _, p := range ports {
		text := fmt.Sprint(p.Port)
		if address != "" {
			text = net.JoinHostPort(address, text)
		}
		if to := openapi.Value(p.TargetPort); to != 0 && to != p.Port {
			text += fmt.Sprintf("->%d", to)
		}
		protocol := openapi.Value(p.Protocol)
		if protocol == "" {
			protocol = openapi.AddressPortProtocolTCP
		}
		all = append(all, text+"/"+string(protocol))
	}
	return all
}

// outside says where others reach a pod.
func outside(p openapi.Pod) string {
	var all []string
	for _, o := range openapi.Value(p.Status.Outside) {
		if len(o.Ports) == 0 {
			all = append(all, o.Address)
		}
		all = append(all, Reached(o.Address, o.Ports)...)
	}
	return strings.Join(all, ",")
}

// SecurityGroups are sets of rules about the connections of pods.
var SecurityGroups = Kind[openapi.SecurityGroup]{
	View: print.View[openapi.SecurityGroup]{
		Kind: "security-group", Document: "SecurityGroup",
		Name: func(g openapi.SecurityGroup) string { return g.Name },
		Columns: []print.Column[openapi.SecurityGroup]{
			print.Col("NAME", func(g openapi.SecurityGroup) string { return g.Name }),
			print.Col("PODS", func(g openapi.SecurityGroup) string { return strconv.Itoa(g.Status.Pods) }),
			print.Col("RESTRICTS", func(g openapi.SecurityGroup) string { return strings.Join(g.Restricts, ",") }),
			print.Col("IN", func(g openapi.SecurityGroup) string { return rulesText(g, openapi.SecurityRuleDirectionIngress) }),
			print.Col("OUT", func(g openapi.SecurityGroup) string { return rulesText(g, openapi.SecurityRuleDirectionEgress) }),
			print.Col("SELECTOR", func(g openapi.SecurityGroup) string { return openapi.Value(g.Selector) }),
			print.Col("AGE", func(g openapi.SecurityGroup) string { return print.Age(g.CreatedAt) }),
			print.WideCol("LABELS", func(g openapi.SecurityGroup) string { return print.Labels(g.Labels) }),
			print.WideCol("ID", func(g openapi.SecurityGroup) string { return g.ID.String() }),
		},
	},
	Plural: "security-groups", Aliases: []string{"security-group", "sg"}, Short: "List or watch security groups: rules about connections of pods", Labels: true,
	ID: func(g openapi.SecurityGroup) string { return g.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.SecurityGroup, error) {
		return c.SecurityGroups.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk security-group create NAME --allow-in tcp/80\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.SecurityGroup, error] {
		return c.SecurityGroups.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.SecurityGroup], error] {
		return c.SecurityGroups.Watch(ctx, o)
	},
}

// DescribeTraffic prints what a security group has allowed and dropped.
func DescribeTraffic(w io.Writer, g openapi.SecurityGroup, t openapi.SecurityTraffic) error {
	var f print.Facts
	for i, r := range t.Rules {
		if i < len(g.Rules) {
			f.Add(string(g.Rules[i].Direction)+" "+ruleText(g.Rules[i])+":", fmt.Sprintf("%d packets, %d bytes", r.Packets, r.Bytes))
		}
	}
	for _, d := range t.Dropped {
		f.Add(string(d.Direction)+" dropped:", fmt.Sprintf("%d packets, %d bytes", d.Packets, d.Bytes))
	}
	for i, d := range t.Drops {
		if i == 0 {
			f.Gap()
		}
		end := func(address string, port *int) string {
			if port == nil {
				return address
			}
			return net.JoinHostPort(address, strconv.Itoa(*port))
		}
		f.Add(d.At.Format(time.RFC3339), fmt.Sprintf("%s %s %s > %s", d.Direction, d.Protocol, end(d.Source, d.SourcePort), end(d.Destination, d.DestinationPort)))
	}
	return f.Print(w)
}

// rulesText writes the rules of a direction as the commands take them, such as tcp/80=web.
func rulesText(g openapi.SecurityGroup, d openapi.SecurityRuleDirection) string {
	var all []string
	for _, r := range g.Rules {
		if r.Direction == d {
			all = append(all, ruleText(r))
		}
	}
	return strings.Join(all, " ")
}

func ruleText(r openapi.SecurityRule) string {
	text := strings.ToLower(string(openapi.Value(r.Protocol)))
	var parts []string
	for _, p := range openapi.Value(r.Ports) {
		part := strconv.Itoa(p.Port)
		if end := openapi.Value(p.EndPort); end != 0 {
			part += fmt.Sprintf("-%d", end)
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		text += "/" + strings.Join(parts, ",")
	}
	parts = nil
	for _, p := range openapi.Value(r.Peers) {
		part := openapi.Value(p.Group) + openapi.Value(p.Cidr)
		if except := openapi.Value(p.Except); len(except) > 0 {
			part += " except " + strings.Join(except, " and ")
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		text += "=" + strings.Join(parts, ",")
	}
	return text
}

// Ingresses make services reachable from outside, over HTTPS.
var Ingresses = Kind[openapi.Ingress]{
	View: print.View[openapi.Ingress]{
		Kind: "ingress", Document: "Ingress",
		Name: func(i openapi.Ingress) string { return i.Name },
		Columns: []print.Column[openapi.Ingress]{
			print.Col("NAME", func(i openapi.Ingress) string { return i.Name }),
			print.Col("HOSTS", func(i openapi.Ingress) string {
				var hosts []string
				for _, r := range i.Rules {
					hosts = append(hosts, r.Host)
				}
				return strings.Join(hosts, ",")
			}),
			print.Col("SERVICES", ingressServices),
			print.Col("CERTIFICATES", certificates),
			print.Col("AGE", func(i openapi.Ingress) string { return print.Age(i.CreatedAt) }),
			print.WideCol("ADDRESSES", func(i openapi.Ingress) string { return strings.Join(i.Status.Addresses, ",") }),
			print.WideCol("LABELS", func(i openapi.Ingress) string { return print.Labels(i.Labels) }),
			print.WideCol("ID", func(i openapi.Ingress) string { return i.ID.String() }),
		},
	},
	Plural: "ingresses", Aliases: []string{"ingress", "ing"}, Short: "List or watch ingresses: hosts that reach services over HTTPS", Labels: true,
	ID: func(i openapi.Ingress) string { return i.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Ingress, error) {
		return c.Ingresses.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk ingress create NAME --rule www.example.com=SERVICE:80\"",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Ingress, error] {
		return c.Ingresses.List(ctx, client.Select{Labels: q.Labels})
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Ingress], error] {
		return c.Ingresses.Watch(ctx, o)
	},
}

// ingressServices writes the services of an ingress, each once.
func ingressServices(i openapi.Ingress) string {
	var all []string
	for _, r := range i.Rules {
		for _, p := range r.Paths {
			if text := fmt.Sprintf("%s:%d", p.Service, p.Port); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, ",")
}

// certificates says how many hosts have a certificate, and which have none because of a failure.
func certificates(i openapi.Ingress) string {
	ready, failed := 0, []string(nil)
	for _, h := range i.Status.Hosts {
		switch h.State {
		case openapi.IngressHostStateReady:
			ready++
		case openapi.IngressHostStateFailed:
			failed = append(failed, h.Host)
		case openapi.IngressHostStatePending:
		}
	}
	text := fmt.Sprintf("%d/%d ready", ready, len(i.Status.Hosts))
	if len(failed) > 0 {
		text += ", failed: " + strings.Join(failed, ",")
	}
	return text
}
