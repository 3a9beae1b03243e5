// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Services give several pods one name and one address.
type Services struct{ c *Client }

// Create creates a service.
func (s Services) Create(ctx context.Context, service openapi.ServiceCreate) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.CreateService(ctx, &openapi.CreateServiceParams{IdempotencyKey: newKey()}, service))
}

// DryRun checks whether [Services.Create] would succeed, and returns the service as it would be created. Nothing is stored.
func (s Services) DryRun(ctx context.Context, service openapi.ServiceCreate) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.CreateService(ctx, &openapi.CreateServiceParams{DryRun: new(true)}, service))
}

// Get returns a service.
func (s Services) Get(ctx context.Context, id uuid.UUID) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.GetService(ctx, id))
}

// Find returns a service by its name or its ID.
func (s Services) Find(ctx context.Context, nameOrID string) (openapi.Service, error) {
	return find(nameOrID, "service", IsName,
		func(id uuid.UUID) (openapi.Service, error) { return s.Get(ctx, id) },
		pages[openapi.Service](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's services.
func (s Services) List(ctx context.Context, which Select) iter.Seq2[openapi.Service, error] {
	return pages[openapi.Service](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's services and then their changes, until ctx ends.
func (s Services) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Service], error] {
	w := watcher[openapi.Service]{kind: "service", id: func(s openapi.Service) string { return s.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return s.c.api.ListServices(ctx, &openapi.ListServicesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes a service. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (s Services) Update(ctx context.Context, id uuid.UUID, change openapi.ServiceUpdate, dryRun bool) (openapi.Service, error) {
	return Decode[openapi.Service](s.c.api.UpdateService(ctx, id, &openapi.UpdateServiceParams{DryRun: &dryRun}, change))
}

// Delete deletes a service.
func (s Services) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteService(ctx, id, nil))
}

// Addresses are floating addresses, at which others outside reach services and pods.
type Addresses struct{ c *Client }

// Create creates an address.
func (s Addresses) Create(ctx context.Context, address openapi.AddressCreate) (openapi.Address, error) {
	return Decode[openapi.Address](s.c.api.CreateAddress(ctx, &openapi.CreateAddressParams{IdempotencyKey: newKey()}, address))
}

// DryRun checks whether [Addresses.Create] would succeed, and returns the address as it would be created. Nothing is stored.
func (s Addresses) DryRun(ctx context.Context, address openapi.AddressCreate) (openapi.Address, error) {
	return Decode[openapi.Address](s.c.api.CreateAddress(ctx, &openapi.CreateAddressParams{DryRun: new(true)}, address))
}

// Get returns an address.
func (s Addresses) Get(ctx context.Context, id uuid.UUID) (openapi.Address, error) {
	return Decode[openapi.Address](s.c.api.GetAddress(ctx, id))
}

// Find returns an address by its name or its ID.
func (s Addresses) Find(ctx context.Context, nameOrID string) (openapi.Address, error) {
	return find(nameOrID, "address", IsName,
		func(id uuid.UUID) (openapi.Address, error) { return s.Get(ctx, id) },
		pages[openapi.Address](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return s.c.api.ListAddresses(ctx, &openapi.ListAddressesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's floating addresses.
func (s Addresses) List(ctx context.Context, which Select) iter.Seq2[openapi.Address, error] {
	return pages[openapi.Address](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListAddresses(ctx, &openapi.ListAddressesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's floating addresses and then their changes, until ctx ends.
func (s Addresses) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Address], error] {
	w := watcher[openapi.Address]{kind: "address", id: func(a openapi.Address) string { return a.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return s.c.api.ListAddresses(ctx, &openapi.ListAddressesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes an address. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (s Addresses) Update(ctx context.Context, id uuid.UUID, change openapi.AddressUpdate, dryRun bool) (openapi.Address, error) {
	return Decode[openapi.Address](s.c.api.UpdateAddress(ctx, id, &openapi.UpdateAddressParams{DryRun: &dryRun}, change))
}

// Delete deletes an address.
func (s Addresses) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteAddress(ctx, id, nil))
}

// SecurityGroups are sets of rules about the connections of pods.
type SecurityGroups struct{ c *Client }

// Create creates a security group.
func (s SecurityGroups) Create(ctx context.Context, group openapi.SecurityGroupCreate) (openapi.SecurityGroup, error) {
	return Decode[openapi.SecurityGroup](s.c.api.CreateSecurityGroup(ctx, &openapi.CreateSecurityGroupParams{IdempotencyKey: newKey()}, group))
}

// DryRun checks whether [SecurityGroups.Create] would succeed, and returns the group as it would be created. Nothing is stored.
func (s SecurityGroups) DryRun(ctx context.Context, group openapi.SecurityGroupCreate) (openapi.SecurityGroup, error) {
	return Decode[openapi.SecurityGroup](s.c.api.CreateSecurityGroup(ctx, &openapi.CreateSecurityGroupParams{DryRun: new(true)}, group))
}

// Get returns a security group.
func (s SecurityGroups) Get(ctx context.Context, id uuid.UUID) (openapi.SecurityGroup, error) {
	return Decode[openapi.SecurityGroup](s.c.api.GetSecurityGroup(ctx, id))
}

// Find returns a security group by its name or its ID.
func (s SecurityGroups) Find(ctx context.Context, nameOrID string) (openapi.SecurityGroup, error) {
	return find(nameOrID, "security group", IsName,
		func(id uuid.UUID) (openapi.SecurityGroup, error) { return s.Get(ctx, id) },
		pages[openapi.SecurityGroup](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return s.c.api.ListSecurityGroups(ctx, &openapi.ListSecurityGroupsParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's security groups.
func (s SecurityGroups) List(ctx context.Context, which Select) iter.Seq2[openapi.SecurityGroup, error] {
	return pages[openapi.SecurityGroup](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return s.c.api.ListSecurityGroups(ctx, &openapi.ListSecurityGroupsParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's security groups and then their changes, until ctx ends.
func (s SecurityGroups) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.SecurityGroup], error] {
	w := watcher[openapi.SecurityGroup]{kind: "security-group", id: func(g openapi.SecurityGroup) string { return g.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return s.c.api.ListSecurityGroups(ctx, &openapi.ListSecurityGroupsParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes a security group. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (s SecurityGroups) Update(ctx context.Context, id uuid.UUID, change openapi.SecurityGroupUpdate, dryRun bool) (openapi.SecurityGroup, error) {
	return Decode[openapi.SecurityGroup](s.c.api.UpdateSecurityGroup(ctx, id, &openapi.UpdateSecurityGroupParams{DryRun: &dryRun}, change))
}

// Delete deletes a security group.
func (s SecurityGroups) Delete(ctx context.Context, id uuid.UUID) error {
	return done(s.c.api.DeleteSecurityGroup(ctx, id, nil))
}

// Traffic returns what a security group has allowed and dropped.
func (s SecurityGroups) Traffic(ctx context.Context, id uuid.UUID) (openapi.SecurityTraffic, error) {
	return Decode[openapi.SecurityTraffic](s.c.api.GetSecurityGroupTraffic(ctx, id))
}

// Ingresses make services reachable from outside, over HTTPS.
type Ingresses struct{ c *Client }

// Create creates an ingress.
func (i Ingresses) Create(ctx context.Context, ingress openapi.IngressCreate) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.CreateIngress(ctx, &openapi.CreateIngressParams{IdempotencyKey: newKey()}, ingress))
}

// DryRun checks whether [Ingresses.Create] would succeed, and returns the ingress as it would be created. Nothing is stored.
func (i Ingresses) DryRun(ctx context.Context, ingress openapi.IngressCreate) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.CreateIngress(ctx, &openapi.CreateIngressParams{DryRun: new(true)}, ingress))
}

// Get returns an ingress.
func (i Ingresses) Get(ctx context.Context, id uuid.UUID) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.GetIngress(ctx, id))
}

// Find returns an ingress by its name or its ID.
func (i Ingresses) Find(ctx context.Context, nameOrID string) (openapi.Ingress, error) {
	return find(nameOrID, "ingress", IsName,
		func(id uuid.UUID) (openapi.Ingress, error) { return i.Get(ctx, id) },
		pages[openapi.Ingress](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's ingresses.
func (i Ingresses) List(ctx context.Context, which Select) iter.Seq2[openapi.Ingress, error] {
	return pages[openapi.Ingress](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's ingresses and then their changes, until ctx ends.
func (i Ingresses) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Ingress], error] {
	w := watcher[openapi.Ingress]{kind: "ingress", id: func(o openapi.Ingress) string { return o.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return i.c.api.ListIngresses(ctx, &openapi.ListIngressesParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Update changes an ingress. Fields that are nil stay as they are. In a dry run, nothing is stored.
func (i Ingresses) Update(ctx context.Context, id uuid.UUID, change openapi.IngressUpdate, dryRun bool) (openapi.Ingress, error) {
	return Decode[openapi.Ingress](i.c.api.UpdateIngress(ctx, id, &openapi.UpdateIngressParams{DryRun: &dryRun}, change))
}

// Delete deletes an ingress.
func (i Ingresses) Delete(ctx context.Context, id uuid.UUID) error {
	return done(i.c.api.DeleteIngress(ctx, id, nil))
}

// Requests returns the latest requests to an ingress, of those after one, oldest first.
func (i Ingresses) Requests(ctx context.Context, id uuid.UUID, after int64, limit int) ([]openapi.IngressRequest, error) {
	list, err := Decode[openapi.IngressRequestList](i.c.api.ListIngressRequests(ctx, id, &openapi.ListIngressRequestsParams{After: &after, Limit: &limit}))
	return list.Items, err
}
