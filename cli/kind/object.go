// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
)

// Object is an object of any kind that was found by name, with what delete and wait need.
type Object struct {
	Ref    string // pod/web
	ID     uuid.UUID
	Delete func(context.Context) error
	// Look reads the state of the object; nil for kinds without a state.
	Look func(context.Context) (state, message string, err error)
}

// finders find objects by kind.
var finders = map[string]func(ctx context.Context, c *client.Client, name string) (Object, error){
	"pod": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		p, err := c.Pods.Find(ctx, name)
		return PodObject(c, p), err
	},
	"volume": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		v, err := c.Volumes.Find(ctx, name)
		return Object{
			Ref: Volumes.Ref(v), ID: v.ID,
			Delete: func(ctx context.Context) error { return c.Volumes.Delete(ctx, v.ID) },
			Look: func(ctx context.Context) (string, string, error) {
				v, err := c.Volumes.Get(ctx, v.ID)
				return string(v.State), openapi.Value(v.Message), err
			},
		}, err
	},
	"snapshot": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		s, err := c.Snapshots.Find(ctx, name)
		return Object{
			Ref: Snapshots.Ref(s), ID: s.ID,
			Delete: func(ctx context.Context) error { return c.Snapshots.Delete(ctx, s.ID) },
			Look: func(ctx context.Context) (string, string, error) {
				s, err := c.Snapshots.Get(ctx, s.ID)
				return string(s.State), openapi.Value(s.Message), err
			},
		}, err
	},
	"config": findConfig(Configs),
	"secret": findConfig(Secrets),
	"network": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		n, err := c.Networks.Find(ctx, name)
		return Object{Ref: Networks.Ref(n), ID: n.ID, Delete: func(ctx context.Context) error { return c.Networks.Delete(ctx, n.ID) }}, err
	},
	"service": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		s, err := c.Services.Find(ctx, name)
		return Object{Ref: Services.Ref(s), ID: s.ID, Delete: func(ctx context.Context) error { return c.Services.Delete(ctx, s.ID) }}, err
	},
	"address": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		a, err := c.Addresses.Find(ctx, name)
		return Object{Ref: Addresses.Ref(a), ID: a.ID, Delete: func(ctx context.Context) error { return c.Addresses.Delete(ctx, a.ID) }}, err
	},
	"security-group": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		g, err := c.SecurityGroups.Find(ctx, name)
		return Object{Ref: SecurityGroups.Ref(g), ID: g.ID, Delete: func(ctx context.Context) error { return c.SecurityGroups.Delete(ctx, g.ID) }}, err
	},
	"image": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, err := c.Images.Find(ctx, name)
		return Object{
			Ref: Images.Ref(i), ID: i.ID,
			Delete: func(ctx context.Context) error { return c.Images.Delete(ctx, i.ID) },
			Look: func(ctx context.Context) (string, string, error) {
				i, err := c.Images.Get(ctx, i.ID)
				return string(i.State), ImageMessage(i, CoarseStep), err
			},
		}, err
	},
	"ingress": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, err := c.Ingresses.Find(ctx, name)
		return Object{Ref: Ingresses.Ref(i), ID: i.ID, Delete: func(ctx context.Context) error { return c.Ingresses.Delete(ctx, i.ID) }}, err
	},
	"service-account": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		s, err := c.ServiceAccounts.Find(ctx, name)
		return Object{Ref: ServiceAccounts.Ref(s), ID: s.ID, Delete: func(ctx context.Context) error { return c.ServiceAccounts.Delete(ctx, s.ID) }}, err
	},
	"api-key": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		k, err := findKey(ctx, c, name, "")
		return Object{Ref: keyView.Ref(k), ID: k.ClientID, Delete: func(ctx context.Context) error {
			return c.ServiceAccounts.DeleteKey(ctx, k.ServiceAccountID, k.ClientID)
		}}, err
	},
	"user": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		u, err := c.Users.Find(ctx, name)
		return Object{Ref: Users.Ref(u), ID: u.ID, Delete: func(ctx context.Context) error { return c.Users.Delete(ctx, u.ID) }}, err
	},
	"platform-issuer": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, err := c.PlatformIssuers.Find(ctx, name)
		return Object{Ref: PlatformIssuers.Ref(i), ID: i.ID, Delete: func(ctx context.Context) error { return c.PlatformIssuers.Delete(ctx, i.ID) }}, err
	},
	"issuer": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, err := c.Issuers.Find(ctx, name)
		return Object{Ref: Issuers.Ref(i), ID: i.ID, Delete: func(ctx context.Context) error { return c.Issuers.Delete(ctx, i.ID) }}, err
	},
}

// PodObject returns a pod as an object.
func PodObject(c *client.Client, p openapi.Pod) Object {
	return Object{
		Ref: Pods.Ref(p), ID: p.ID,
		Delete: func(ctx context.Context) error { return c.Pods.Delete(ctx, p.ID) },
		Look: func(ctx context.Context) (string, string, error) {
			p, err := c.Pods.Get(ctx, p.ID)
			state := string(p.Status.Phase)
			if p.Status.UnknownSince != nil {
				state = Unknown
			}
			return state, openapi.Value(p.Status.Message), err
		},
	}
}
