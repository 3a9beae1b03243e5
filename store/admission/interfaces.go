// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pools"
)

// interfacesOf gives a new pod addresses in the networks that it asks for. The transaction holds the tenant's row. In a dry run, networks may be
// missing. Codes: not_found, conflict (the address is in use), invalid, quota_exceeded (the network is full).
func interfacesOf(ctx context.Context, q *db.Queries, tenant, pod uuid.UUID, wanted []husk.PodNetwork) ([]husk.Interface, error) {
	if len(wanted) == 0 {
		wanted = []husk.PodNetwork{{Network: husk.DefaultNetwork}}
	}
	interfaces := make([]husk.Interface, 0, len(wanted))
	for i, w := range wanted {
		field := fmt.Sprintf("spec.networks[%d].", i)
		row, err := q.NetworkByName(ctx, db.NetworkByNameParams{TenantID: tenant, Name: w.Network})
		if errors.Is(err, pgx.ErrNoRows) {
			if !pools.IsDryRun(ctx) {
				return nil, husk.Errorf(husk.CodeNotFound, field+"network", "there is no network %q; create it first", w.Network)
			}
			row, err = q.DefaultNetwork(ctx, tenant)
			w.Address = ""
		}
		if err != nil {
			return nil, err
		}
		n := convert.Network(row, 0)
		address, err := addressIn(ctx, q, tenant, n, w.Address, field+"address")
		if err != nil {
			return nil, err
		}
		interfaces = append(interfaces, husk.Interface{
			NetworkID: n.ID, Network: n.Name, Address: netip.PrefixFrom(address, n.CIDR.Bits()), Address6: n.IPv6Of(address),
			MAC: husk.InterfaceMAC(convert.MAC(pod), i).String(), Isolated: n.Isolated,
		})
	}
	return interfaces, nil
}

// addressIn returns the address that a pod asks for, or a free one.
func addressIn(ctx context.Context, q *db.Queries, tenant uuid.UUID, n husk.Network, wanted, field string) (netip.Addr, error) {
	if wanted == "" {
		free, err := q.FreeAddress(ctx, db.FreeAddressParams{TenantID: tenant, NetworkID: n.ID})
		if errors.Is(err, pgx.ErrNoRows) {
			return free, husk.Errorf(husk.CodeQuotaExceeded, "", "the network %q (%s) has no free address; delete pods first", n.Name, n.CIDR)
		}
		return free, err
	}
	a, err := netip.ParseAddr(wanted)
	if err != nil {
		return a, husk.Errorf(husk.CodeInvalid, field, "%q is no address: %v", wanted, err)
	}
	if !n.CIDR.Contains(a) || a.Compare(husk.Gateway(n.CIDR)) <= 0 || a == convert.Last(n.CIDR) {
		return a, husk.Errorf(husk.CodeInvalid, field, "%s is no address for pods in the network %q; choose one from %s to %s", a, n.Name, husk.Gateway(n.CIDR).Next(), convert.Last(n.CIDR).Prev())
	}
	taken, err := q.AddressTaken(ctx, db.AddressTakenParams{TenantID: tenant, NetworkID: n.ID, Address: a})
	if err == nil && taken {
		return a, husk.Errorf(husk.CodeConflict, field, "another pod has the address %s in the network %q; delete that pod first, or choose another address", a, n.Name)
	}
	return a, err
}
