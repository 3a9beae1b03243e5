// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
	"husk/service"
	"husk/service/address"
	"husk/service/securitygroup"
)

// CreateService creates a service.
func (a api) CreateService(ctx context.Context, r openapi.CreateServiceRequestObject) (openapi.CreateServiceResponseObject, error) {
	selector, err := request.Selector("selector", r.Body.Selector)
	if err != nil {
		return nil, err
	}
	s := service.Service{
		Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), Selector: selector, Ports: portsOf(r.Body.Ports), Headless: openapi.Value(r.Body.Headless),
		Affinity: service.Affinity(openapi.Value(r.Body.Affinity)), AffinityTimeoutSeconds: openapi.Value(r.Body.AffinityTimeoutSeconds),
		SecurityGroups: openapi.Value(r.Body.SecurityGroups),
	}.Complete()
	if err := s.Check(); err != nil {
		return nil, err
	}
	s, err = a.tenant(ctx).Services().Create(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey), s)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Service](s)
	return openapi.CreateService201JSONResponse{Body: body, Headers: openapi.CreateService201ResponseHeaders{ETag: request.ETag(s)}}, err
}

func portsOf(given *openapi.ServicePorts) []service.Port {
	ports := make([]service.Port, 0, len(openapi.Value(given)))
	for _, p := range openapi.Value(given) {
		ports = append(ports, service.Port{Name: openapi.Value(p.Name), Protocol: service.Protocol(openapi.Value(p.Protocol)), Port: p.Port, TargetPort: openapi.Value(p.TargetPort)})
	}
	return ports
}

// ListServices lists or watches services.
func (a api) ListServices(ctx context.Context, r openapi.ListServicesRequestObject) (openapi.ListServicesResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[service.Service]{ctx, a.watches.services, watch.Watch[service.Service]{Match: func(s service.Service) bool { return filter.Matches(s.Name, s.Labels) }}}, nil
	}
	services, next, err := a.tenant(ctx).Services().List(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter.Name, filter.Labels)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Service](services, next)
	return openapi.ListServices200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetService returns one service.
func (a api) GetService(ctx context.Context, r openapi.GetServiceRequestObject) (openapi.GetServiceResponseObject, error) {
	s, err := a.tenant(ctx).Services().Get(ctx, r.ServiceID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Service](s)
	return openapi.GetService200JSONResponse{Body: body, Headers: openapi.GetService200ResponseHeaders{ETag: request.ETag(s)}}, err
}

// UpdateService changes labels, selector, ports and affinity.
func (a api) UpdateService(ctx context.Context, r openapi.UpdateServiceRequestObject) (openapi.UpdateServiceResponseObject, error) {
	s, err := a.tenant(ctx).Services().Update(dryRun(ctx, r.Params.DryRun), r.ServiceID, openapi.Value(r.Body.Labels), func(s service.Service) (service.Service, error) {
		if r.Body.Selector != nil {
			var err error
			if s.Selector, err = request.Selector("selector", *r.Body.Selector); err != nil {
				return s, err
			}
		}
		if r.Body.Ports != nil {
			s.Ports = portsOf(r.Body.Ports)
		}
		if r.Body.Affinity != nil {
			if s.Affinity = service.Affinity(*r.Body.Affinity); s.Affinity == service.AffinityNone {
				s.AffinityTimeoutSeconds = 0
			}
		}
		if r.Body.AffinityTimeoutSeconds != nil {
			s.AffinityTimeoutSeconds = *r.Body.AffinityTimeoutSeconds
		}
		if r.Body.SecurityGroups != nil {
			s.SecurityGroups = *r.Body.SecurityGroups
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Service](s)
	return openapi.UpdateService200JSONResponse{Body: body, Headers: openapi.UpdateService200ResponseHeaders{ETag: request.ETag(s)}}, err
}

// DeleteService deletes a service.
func (a api) DeleteService(ctx context.Context, r openapi.DeleteServiceRequestObject) (openapi.DeleteServiceResponseObject, error) {
	return openapi.DeleteService204Response{}, a.tenant(ctx).Services().Delete(ctx, r.ServiceID)
}

// GetNames responds as soon as the names of a network on the calling node differ from those that the agent knows.
func (a api) GetNames(ctx context.Context, r openapi.GetNamesRequestObject) (openapi.GetNamesResponseObject, error) {
	node := request.Of(ctx).Caller.NodeID
	known := make(map[uuid.UUID]string, len(r.Body.Known))
	for _, z := range r.Body.Known {
		known[z.NetworkID] = z.Version
	}
	update, err := a.zones.Next(ctx, node, known, time.Duration(openapi.Value(r.Body.WaitSeconds))*time.Second)
	if err != nil {
		return nil, err
	}
	// The certificate may have been revoked while the request waited.
	if err := a.control.AuthenticateNode(ctx, node, request.Of(ctx).Certificate); err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetNames200JSONResponse](update)
}

// CreateAddress takes a floating address from the pool.
func (a api) CreateAddress(ctx context.Context, r openapi.CreateAddressRequestObject) (openapi.CreateAddressResponseObject, error) {
	made := address.Address{
		Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), Target: targetOf(r.Body.Target), DeleteWithTarget: openapi.Value(r.Body.DeleteWithTarget),
	}.Complete()
	if err := made.Check(); err != nil {
		return nil, err
	}
	made, err := a.tenant(ctx).Addresses().Create(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey), made)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Address](made)
	return openapi.CreateAddress201JSONResponse{Body: body, Headers: openapi.CreateAddress201ResponseHeaders{ETag: request.ETag(made)}}, err
}

func targetOf(given *openapi.AddressTarget) *address.Target {
	if given == nil {
		return nil
	}
	t := address.Target{ServiceID: given.ServiceID, PodID: given.PodID}
	for _, p := range openapi.Value(given.Ports) {
		t.Ports = append(t.Ports, address.Port{Protocol: service.Protocol(openapi.Value(p.Protocol)), Port: p.Port, TargetPort: openapi.Value(p.TargetPort)})
	}
	return &t
}

// ListAddresses lists or watches floating addresses.
func (a api) ListAddresses(ctx context.Context, r openapi.ListAddressesRequestObject) (openapi.ListAddressesResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[address.Address]{ctx, a.watches.addresses, watch.Watch[address.Address]{Match: func(x address.Address) bool { return filter.Matches(x.Name, x.Labels) }}}, nil
	}
	addresses, next, err := a.tenant(ctx).Addresses().List(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter.Name, filter.Labels)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Address](addresses, next)
	return openapi.ListAddresses200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetAddress returns one floating address.
func (a api) GetAddress(ctx context.Context, r openapi.GetAddressRequestObject) (openapi.GetAddressResponseObject, error) {
	found, err := a.tenant(ctx).Addresses().Get(ctx, r.AddressID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Address](found)
	return openapi.GetAddress200JSONResponse{Body: body, Headers: openapi.GetAddress200ResponseHeaders{ETag: request.ETag(found)}}, err
}

// UpdateAddress changes labels and target. An address without a target is not deleted with one.
func (a api) UpdateAddress(ctx context.Context, r openapi.UpdateAddressRequestObject) (openapi.UpdateAddressResponseObject, error) {
	changed, err := a.tenant(ctx).Addresses().Update(dryRun(ctx, r.Params.DryRun), r.AddressID, openapi.Value(r.Body.Labels), func(x address.Address) address.Address {
		if r.Body.Target != nil {
			x.Target, x.DeleteWithTarget = targetOf(r.Body.Target), false
		}
		if r.Body.DeleteWithTarget != nil {
			x.DeleteWithTarget = *r.Body.DeleteWithTarget
		}
		return x
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Address](changed)
	return openapi.UpdateAddress200JSONResponse{Body: body, Headers: openapi.UpdateAddress200ResponseHeaders{ETag: request.ETag(changed)}}, err
}

// DeleteAddress gives a floating address back.
func (a api) DeleteAddress(ctx context.Context, r openapi.DeleteAddressRequestObject) (openapi.DeleteAddressResponseObject, error) {
	return openapi.DeleteAddress204Response{}, a.tenant(ctx).Addresses().Delete(ctx, r.AddressID)
}

// CreateSecurityGroup creates a security group.
func (a api) CreateSecurityGroup(ctx context.Context, r openapi.CreateSecurityGroupRequestObject) (openapi.CreateSecurityGroupResponseObject, error) {
	given := openapi.SecurityGroupUpdate{Selector: r.Body.Selector, Restricts: r.Body.Restricts, Rules: r.Body.Rules}
	g, err := changeGroup(securitygroup.Group{Name: r.Body.Name, Labels: labelsOf(r.Body.Labels)}, given)
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, err
	}
	g, err = a.tenant(ctx).SecurityGroups().Create(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey), g)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.SecurityGroup](g)
	return openapi.CreateSecurityGroup201JSONResponse{Body: body, Headers: openapi.CreateSecurityGroup201ResponseHeaders{ETag: request.ETag(g)}}, err
}

// changeGroup changes what a request names. If it names new rules and not what the group restricts, that follows from the rules.
func changeGroup(g securitygroup.Group, u openapi.SecurityGroupUpdate) (securitygroup.Group, error) {
	if u.Selector != nil {
		g.Selector = nil
		if *u.Selector != "" {
			var err error
			if g.Selector, err = request.Selector("selector", *u.Selector); err != nil {
				return g, err
			}
		}
	}
	if u.Rules != nil {
		var err error
		if g.Rules, err = openapi.Recast[[]securitygroup.Rule](*u.Rules); err != nil {
			return g, err
		}
	}
	if u.Restricts != nil {
		g.Restricts = []securitygroup.Direction{}
		for _, d := range *u.Restricts {
			g.Restricts = append(g.Restricts, securitygroup.Direction(d))
		}
	}
	return g.Complete(u.Restricts != nil || u.Rules == nil && g.Restricts != nil), nil
}

// ListSecurityGroups lists or watches security groups.
func (a api) ListSecurityGroups(ctx context.Context, r openapi.ListSecurityGroupsRequestObject) (openapi.ListSecurityGroupsResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[securitygroup.Group]{ctx, a.watches.groups, watch.Watch[securitygroup.Group]{Match: func(g securitygroup.Group) bool { return filter.Matches(g.Name, g.Labels) }}}, nil
	}
	groups, next, err := a.tenant(ctx).SecurityGroups().List(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter.Name, filter.Labels)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.SecurityGroup](groups, next)
	return openapi.ListSecurityGroups200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetSecurityGroup returns one security group.
func (a api) GetSecurityGroup(ctx context.Context, r openapi.GetSecurityGroupRequestObject) (openapi.GetSecurityGroupResponseObject, error) {
	g, err := a.tenant(ctx).SecurityGroups().Get(ctx, r.SecurityGroupID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.SecurityGroup](g)
	return openapi.GetSecurityGroup200JSONResponse{Body: body, Headers: openapi.GetSecurityGroup200ResponseHeaders{ETag: request.ETag(g)}}, err
}

// UpdateSecurityGroup changes labels, selector, restrictions and rules.
func (a api) UpdateSecurityGroup(ctx context.Context, r openapi.UpdateSecurityGroupRequestObject) (openapi.UpdateSecurityGroupResponseObject, error) {
	g, err := a.tenant(ctx).SecurityGroups().Update(dryRun(ctx, r.Params.DryRun), r.SecurityGroupID, openapi.Value(r.Body.Labels), func(g securitygroup.Group) (securitygroup.Group, error) {
		return changeGroup(g, *r.Body)
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.SecurityGroup](g)
	return openapi.UpdateSecurityGroup200JSONResponse{Body: body, Headers: openapi.UpdateSecurityGroup200ResponseHeaders{ETag: request.ETag(g)}}, err
}

// DeleteSecurityGroup deletes a security group.
func (a api) DeleteSecurityGroup(ctx context.Context, r openapi.DeleteSecurityGroupRequestObject) (openapi.DeleteSecurityGroupResponseObject, error) {
	return openapi.DeleteSecurityGroup204Response{}, a.tenant(ctx).SecurityGroups().Delete(ctx, r.SecurityGroupID)
}

// GetSecurityGroupTraffic returns what a security group has allowed and dropped.
func (a api) GetSecurityGroupTraffic(ctx context.Context, r openapi.GetSecurityGroupTrafficRequestObject) (openapi.GetSecurityGroupTrafficResponseObject, error) {
	traffic, err := a.tenant(ctx).SecurityGroups().Traffic(ctx, r.SecurityGroupID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetSecurityGroupTraffic200JSONResponse](traffic)
}
