// SPDX-License-Identifier: Apache-2.0

// Package live reads existing objects in the form of the documents that create them. husk diff compares these documents with those of a file, and
// husk edit changes them. text.go writes a document as YAML.
package live

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/manifest"
	"husk/client"
	"husk/openapi"
)

// Object is an object that exists.
type Object struct {
	manifest.Document

	ID   uuid.UUID
	ETag string
	// Config is set for configs and secrets.
	Config *openapi.Config
}

// readers read objects by kind.
var readers = map[string]func(ctx context.Context, c *client.Client, name string) (Object, error){
	"pod": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		p, o, err := read(c.Pods.Find, func(p openapi.Pod) (*http.Response, error) { return c.API().GetPod(ctx, p.ID) })(ctx, name)
		annotations := p.Annotations
		o.ID, o.Pod = p.ID, &manifest.Pod{PodCreate: openapi.PodCreate{Name: p.Name, Labels: &p.Labels, Annotations: annotations, Spec: p.Spec}}
		return o, err
	},
	"volume": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		v, o, err := read(c.Volumes.Find, func(v openapi.Volume) (*http.Response, error) { return c.API().GetVolume(ctx, v.ID) })(ctx, name)
		o.ID, o.Volume = v.ID, &openapi.VolumeCreate{
			Name: v.Name, Labels: &v.Labels, SizeGiB: v.SizeGiB, FsType: &v.FsType, Class: v.Class, SnapshotSchedule: v.SnapshotSchedule, Encrypted: v.Encrypted,
		}
		return o, err
	},
	"image": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, err := c.Images.Find(ctx, name)
		return Object{ID: i.ID, Document: manifest.Document{Image: &openapi.ImageImport{Reference: i.Reference}}}, err
	},
	"config": readConfig(openapi.ConfigKindConfig),
	"secret": readConfig(openapi.ConfigKindSecret),
	"network": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		n, o, err := read(c.Networks.Find, func(n openapi.Network) (*http.Response, error) { return c.API().GetNetwork(ctx, n.ID) })(ctx, name)
		o.ID, o.Network = n.ID, &openapi.NetworkCreate{Name: n.Name, Labels: &n.Labels, Cidr: &n.Cidr, Ipv6Cidr: n.Ipv6Cidr, Isolated: &n.Isolated}
		return o, err
	},
	"service": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		s, o, err := read(c.Services.Find, func(s openapi.Service) (*http.Response, error) { return c.API().GetService(ctx, s.ID) })(ctx, name)
		o.ID, o.Service = s.ID, &openapi.ServiceCreate{
			Name: s.Name, Labels: &s.Labels, Selector: s.Selector, Ports: &s.Ports, Affinity: &s.Affinity, AffinityTimeoutSeconds: s.AffinityTimeoutSeconds,
			Headless: &s.Headless, SecurityGroups: s.SecurityGroups,
		}
		return o, err
	},
	"ingress": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		i, o, err := read(c.Ingresses.Find, func(i openapi.Ingress) (*http.Response, error) { return c.API().GetIngress(ctx, i.ID) })(ctx, name)
		o.ID, o.Ingress = i.ID, &openapi.IngressCreate{Name: i.Name, Labels: &i.Labels, Rules: i.Rules, HstsSeconds: &i.HstsSeconds}
		return o, err
	},
	"address": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		a, o, err := read(c.Addresses.Find, func(a openapi.Address) (*http.Response, error) { return c.API().GetAddress(ctx, a.ID) })(ctx, name)
		if err != nil {
			return o, err
		}
		o.ID = a.ID
		o.Address, err = address(ctx, c, a)
		return o, err
	},
	"security-group": func(ctx context.Context, c *client.Client, name string) (Object, error) {
		g, o, err := read(c.SecurityGroups.Find, func(g openapi.SecurityGroup) (*http.Response, error) { return c.API().GetSecurityGroup(ctx, g.ID) })(ctx, name)
		rules := slices.Clone(g.Rules)
		for i := range rules {
			rules[i].Number = nil
		}
		o.ID, o.Group = g.ID, &openapi.SecurityGroupCreate{Name: g.Name, Labels: &g.Labels, Selector: g.Selector, Restricts: &g.Restricts, Rules: &rules}
		return o, err
	},
}

// read returns a function that finds an object by its name, and reads it with its ETag.
func read[T any](find func(ctx context.Context, name string) (T, error), get func(T) (*http.Response, error)) func(context.Context, string) (T, Object, error) {
	return func(ctx context.Context, name string) (T, Object, error) {
		found, err := find(ctx, name)
		if err != nil {
			return found, Object{}, err
		}
		v, etag, err := client.DecodeTagged[T](get(found)) //nolint:bodyclose // it closes the body
		return v, Object{ETag: etag}, err
	}
}

func readConfig(of openapi.ConfigKind) func(context.Context, *client.Client, string) (Object, error) {
	return func(ctx context.Context, c *client.Client, name string) (Object, error) {
		find := func(ctx context.Context, name string) (openapi.Config, error) { return c.Configs.Find(ctx, of, name) }
		x, o, err := read(find, func(x openapi.Config) (*http.Response, error) { return c.API().GetConfig(ctx, x.ID) })(ctx, name)
		o.ID, o.Config = x.ID, &x
		o.Document.Config = &openapi.ConfigCreate{Kind: of, Name: x.Name, Labels: &x.Labels, Values: x.Values, BinaryValues: x.BinaryValues}
		if of == openapi.ConfigKindSecret {
			hidden := openapi.ConfigValues{}
			for _, key := range x.Keys {
				hidden[key.Name] = new(Hidden)
			}
			o.Document.Config.Values = &hidden
		}
		return o, err
	}
}

// Hidden stands for the value of a secret, which the API does not return.
const Hidden = "(unchanged)"

// address returns the document of a floating address, with the name of its target.
func address(ctx context.Context, c *client.Client, a openapi.Address) (*manifest.Address, error) {
	d := &manifest.Address{AddressCreate: openapi.AddressCreate{Name: a.Name, Labels: &a.Labels, DeleteWithTarget: &a.DeleteWithTarget}}
	t := a.Target
	switch {
	case t == nil:
	case t.ServiceID != nil:
		s, err := c.Services.Get(ctx, *t.ServiceID)
		if err != nil {
			return d, err
		}
		d.Service = s.Name
	case t.PodID != nil:
		p, err := c.Pods.Get(ctx, *t.PodID)
		if err != nil {
			return d, err
		}
		d.Pod, d.Target = p.Name, &openapi.AddressTarget{Ports: t.Ports}
	}
	return d, nil
}

// Find reads an object.
func Find(ctx context.Context, c *client.Client, ref kind.Ref) (Object, error) {
	reader, ok := readers[ref.Kind]
	if !ok {
		return Object{}, exit.Usagef("%s: an object of this kind has no document; it can be a pod, volume, config, secret, network, service, ingress, address or security-group", ref)
	}
	return reader(ctx, c, ref.Name)
}
