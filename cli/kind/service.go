// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Services give several pods one name and one address.
var Services = Kind[openapi.Service]{
	View: print.View[openapi.Service]{
		Kind: "service",
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
