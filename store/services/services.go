// SPDX-License-Identifier: Apache-2.0

// Package services stores services, in transactions of package store. The endpoints of a service are not stored: each read of services also reads
// the tenant's pods that have a virtual machine, and package service matches them. In SQL, matching each service with each pod takes several
// hundred times as long (docs/decisions/0038-services.md).
package services

import (
	"context"
	"errors"
	"net/netip"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/service"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
)

// Default is the range of virtual addresses if the operator names no other. It is in the shared address space of RFC 6598, and outside of the
// default range of pods.
var Default = netip.MustParsePrefix("100.127.0.0/16")

// CheckRange refuses a range that virtual addresses cannot come from. pods is the range of tenants' networks.
func CheckRange(r, pods netip.Prefix) error {
	switch {
	case !r.IsValid() || !r.Addr().Is4() || r.Bits() > 28:
		return husk.Errorf(husk.CodeInvalid, "", "the service range %s must be a range of IPv4 addresses of at most /28, such as %s", r, Default)
	case r.Overlaps(pods):
		return husk.Errorf(husk.CodeInvalid, "", "the service range %s overlaps the pod range %s: a pod and a service would have the same address; choose another range with --service-range", r, pods)
	}
	return nil
}

// bounds returns the first and the last virtual address of a range. The first address and the last of the range itself stay unused, because
// some programs refuse them.
func bounds(r netip.Prefix) (first, last netip.Addr) {
	return r.Masked().Addr().Next(), convert.Last(r).Prev()
}

// insert stores a new service. The transaction holds the tenant's row. Codes: quota_exceeded, name_taken, not_found (a security group).
func insert(ctx context.Context, q *db.Queries, tenant db.Tenant, from netip.Prefix, s service.Service) (service.Service, error) {
	used, err := q.ServiceUse(ctx, tenant.ID)
	if err == nil {
		err = admission.Quota("", "services", used, 1, tenant.QuotaServices)
	}
	if err != nil {
		return s, err
	}
	network, err := q.DefaultNetwork(ctx, tenant.ID)
	if err != nil {
		return s, err
	}
	p := db.InsertServiceParams{
		TenantID: tenant.ID, ID: s.ID, NetworkID: network.ID, Name: s.Name, Labels: s.Labels, Selector: s.Selector, Ports: s.Ports, AffinitySeconds: s.AffinityTimeoutSeconds,
		SecurityGroups: append([]string{}, s.SecurityGroups...),
	}
	if err := admission.Groups(ctx, q, tenant.ID, s.SecurityGroups, "securityGroups"); err != nil {
		return s, err
	}
	if !s.Headless {
		first, last := bounds(from)
		address, err := q.FreeServiceAddress(ctx, db.FreeServiceAddressParams{TenantID: tenant.ID, First: first, Last: last})
		if errors.Is(err, pgx.ErrNoRows) {
			return s, husk.Errorf(husk.CodeQuotaExceeded, "", "the range %s has no free address; delete services first", from)
		}
		if err != nil {
			return s, err
		}
		p.Address = &address
	}
	row, err := q.InsertService(ctx, p)
	if pgerr.UniqueViolation(err, "services_tenant_id_name_key") {
		return s, husk.Errorf(husk.CodeNameTaken, "name", "a service named %q exists already", s.Name)
	}
	if err != nil {
		return s, err
	}
	return one(ctx, q, row)
}

// one adds the endpoints to a service.
func one(ctx context.Context, q *db.Queries, row db.Service) (service.Service, error) {
	pods, err := readPods(ctx, q, []uuid.UUID{row.TenantID})
	return convertService(row).WithEndpoints(pods), err
}

func convertService(r db.Service) service.Service {
	s := service.Service{
		ID: r.ID, TenantID: r.TenantID, Name: r.Name, Labels: r.Labels, Selector: r.Selector, Ports: r.Ports, Affinity: service.AffinityNone,
		AffinityTimeoutSeconds: r.AffinitySeconds, Headless: r.Address == nil, SecurityGroups: r.SecurityGroups, CreatedAt: r.CreatedAt,
	}
	if r.AffinitySeconds > 0 {
		s.Affinity = service.AffinityClient
	}
	if r.Address != nil {
		s.Status.Address = r.Address.String()
	}
	return s.Complete()
}

func readPods(ctx context.Context, q *db.Queries, tenants []uuid.UUID) ([]service.Pod, error) {
	rows, err := q.ServicePods(ctx, tenants)
	return convert.All(rows, func(r db.ServicePodsRow) service.Pod { return service.Pod(r) }), err
}

// Balanced is a service with what its load balancer needs.
type Balanced struct {
	ID, TenantID    uuid.UUID
	Name            string
	Address         netip.Addr // invalid: headless
	Ports           []service.Port
	AffinitySeconds int        // 0: none
	Ingress         netip.Addr // in the ingress range; invalid: no ingress names the service
	Endpoints       []Endpoint // ready ones, at most service.MaxEndpoints
}

// Endpoint is a pod that gets connections.
type Endpoint struct {
	PodID   uuid.UUID
	PodName string
	Address netip.Addr
}

// All returns the services of these tenants, or of all tenants if the list is nil, with their ready endpoints, in the order of tenants and ids.
func All(ctx context.Context, q *db.Queries, tenants []uuid.UUID) ([]Balanced, error) {
	rows, err := q.ServicesOfTenants(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	pods, err := readPods(ctx, q, tenants)
	if err != nil {
		return nil, err
	}
	byTenant := podsByTenant(pods)
	return convert.All(rows, func(r db.Service) Balanced {
		b := Balanced{ID: r.ID, TenantID: r.TenantID, Name: r.Name, Ports: r.Ports, AffinitySeconds: r.AffinitySeconds}
		if r.Address != nil {
			b.Address = *r.Address
		}
		for _, e := range service.Ready(convertService(r).Endpoints(byTenant[r.TenantID])) {
			b.Endpoints = append(b.Endpoints, Endpoint{e.PodID, e.PodName, e.IP})
		}
		return b
	}), nil
}

// Count counts the endpoints of all services of these tenants.
func Count(ctx context.Context, q *db.Queries, tenants []uuid.UUID) (map[uuid.UUID][]husk.ServiceMetrics, error) {
	rows, err := q.ServicesOfTenants(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	pods, err := readPods(ctx, q, tenants)
	if err != nil {
		return nil, err
	}
	byTenant := podsByTenant(pods)
	counted := map[uuid.UUID][]husk.ServiceMetrics{}
	for _, r := range rows {
		status := convertService(r).WithEndpoints(byTenant[r.TenantID]).Status
		counted[r.TenantID] = append(counted[r.TenantID], husk.ServiceMetrics{Name: r.Name, Endpoints: status.ReadyEndpoints + status.NotReadyEndpoints, Ready: status.ReadyEndpoints})
	}
	return counted, nil
}

func podsByTenant(pods []service.Pod) map[uuid.UUID][]service.Pod {
	byTenant := map[uuid.UUID][]service.Pod{}
	for _, p := range pods {
		byTenant[p.TenantID] = append(byTenant[p.TenantID], p)
	}
	return byTenant
}

// Zones returns the zones of a tenant's networks.
func Zones(ctx context.Context, q *db.Queries, tenant uuid.UUID, from netip.Prefix, suffix string) ([]service.Zone, error) {
	networks, err := q.TenantNetworks(ctx, tenant)
	if err != nil {
		return nil, err
	}
	rows, err := q.ZonePods(ctx, tenant)
	if err != nil {
		return nil, err
	}
	stored, err := q.ServicesOfTenants(ctx, []uuid.UUID{tenant})
	if err != nil {
		return nil, err
	}
	pods := convert.All(rows, func(r db.ZonePodsRow) service.Pod { return service.Pod(r) })
	all := convert.All(stored, convertService)
	connected := []string{from.String()}
	for _, n := range networks {
		if !n.Isolated {
			connected = append(connected, rangesOf(n)...)
		}
	}
	return convert.All(networks, func(n db.Network) service.Zone {
		of := service.Of{Network: n.ID, Isolated: n.Isolated, Suffix: suffix, Ranges: connected}
		if n.Isolated {
			of.Ranges = rangesOf(n)
		}
		return service.NewZone(of, pods, all)
	}), nil
}

func rangesOf(n db.Network) []string {
	ranges := []string{n.Cidr.String()}
	if n.Ipv6Cidr != nil {
		ranges = append(ranges, n.Ipv6Cidr.String())
	}
	return ranges
}

// Network names a network of a tenant.
type Network struct{ TenantID, ID uuid.UUID }

// OfNode returns the networks that have virtual machines on a node.
func OfNode(ctx context.Context, q *db.Queries, node uuid.UUID) ([]Network, error) {
	rows, err := q.NetworksOfNode(ctx, node)
	return convert.All(rows, func(r db.NetworksOfNodeRow) Network { return Network{r.TenantID, r.NetworkID} }), err
}
