// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// CreateTenant creates a tenant and its network. Codes: name_taken, unavailable (the pod range is exhausted).
func (c Control) CreateTenant(ctx context.Context, idem Idempotency, name string, quota husk.Quota) (husk.Tenant, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Tenant, error) {
		if err := q.LockOperators(ctx); err != nil {
			return husk.Tenant{}, err
		}
		return repeats.Once(ctx, q, platform, idem, func() (ID, husk.Tenant, error) {
			id := uuid.New()
			row, err := q.InsertTenant(ctx, db.InsertTenantParams{
				ID: id, Name: name, QuotaPods: quota.Pods, QuotaCpuMillis: quota.CPUMillis, QuotaMemoryMib: quota.MemoryMiB,
				QuotaVolumes: quota.Volumes, QuotaVolumeGib: quota.VolumeGiB, QuotaSnapshots: quota.Snapshots, QuotaNetworks: quota.Networks,
				QuotaFloating: quota.Addresses, QuotaImages: quota.Images, QuotaConfigs: quota.Configs, QuotaServices: quota.Services, QuotaIngresses: quota.Ingresses, QuotaSecurityGroups: quota.SecurityGroups, QuotaRequestsPerSecond: quota.RequestsPerSecond, QuotaPriority: quota.Priority, QuotaScratchGib: quota.ScratchGiB, QuotaVolumeClassGib: convert.NotNil(quota.VolumeClassGiB),
			})
			if pgerr.UniqueViolation(err, "tenants_name_key") {
				return id, husk.Tenant{}, husk.Errorf(husk.CodeNameTaken, "name", "a tenant named %q exists already", name)
			}
			if err != nil {
				return id, husk.Tenant{}, err
			}
			ordinal, err := q.FreeNetworkOrdinal(ctx)
			if err != nil {
				return id, husk.Tenant{}, err
			}
			cidr, err := c.network(ordinal)
			if err != nil {
				return id, husk.Tenant{}, err
			}
			if _, err := q.InsertNetwork(ctx, db.InsertNetworkParams{TenantID: id, ID: uuid.New(), Ordinal: &ordinal, Cidr: cidr}); err != nil {
				return id, husk.Tenant{}, err
			}
			if err := c.keys.Create(ctx, q, id); err != nil {
				return id, husk.Tenant{}, err
			}
			return id, convert.Tenant(row, cidr), audit(ctx, q, id, "tenant", id.String())
		}, func(id ID) (husk.Tenant, error) { return tenant(ctx, q, id) })
	})
}

// network returns the network with this number in the pod range.
func (s *core) network(ordinal int) (netip.Prefix, error) {
	if ordinal >= 1<<(s.cfg.NetworkPrefix-s.cfg.PodRange.Bits()) {
		return netip.Prefix{}, husk.Errorf(husk.CodeUnavailable, "", "the pod range %s has no free network; configure a larger range with --pod-range", s.cfg.PodRange)
	}
	base := s.cfg.PodRange.Masked().Addr().As4()
	number := binary.BigEndian.Uint32(base[:]) + uint32(ordinal)<<(32-s.cfg.NetworkPrefix) //nolint:gosec // checked above
	binary.BigEndian.PutUint32(base[:], number)
	return netip.PrefixFrom(netip.AddrFrom4(base), s.cfg.NetworkPrefix), nil
}

// Tenant returns a tenant. Codes: not_found.
func (c Control) Tenant(ctx context.Context, id ID) (husk.Tenant, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Tenant, error) { return tenant(ctx, q, id) })
}

func tenant(ctx context.Context, q *db.Queries, id ID) (husk.Tenant, error) {
	row, err := q.Tenant(ctx, id)
	return convert.Tenant(row.Tenant, row.Cidr), pgerr.NotFound(err, "tenant")
}

// Tenants lists tenants, oldest first. Codes: invalid (cursor).
func (c Control) Tenants(ctx context.Context, page Page) ([]husk.Tenant, string, error) {
	return controlPage(ctx, c, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.TenantsRow, error) {
		return q.Tenants(ctx, db.TenantsParams{AfterTime: after.At, AfterID: after.ID, Max: limit})
	}, func(r db.TenantsRow) husk.Tenant { return convert.Tenant(r.Tenant, r.Cidr) }, func(t husk.Tenant) (time.Time, ID) { return t.CreatedAt, t.ID })
}

// SetQuota changes a tenant's limits. change gets the current limits and returns the new ones. Codes: not_found, precondition_failed.
func (c Control) SetQuota(ctx context.Context, id ID, change func(husk.Quota) husk.Quota) (husk.Tenant, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Tenant, error) {
		row, err := lockTenant(ctx, q, id)
		if err != nil {
			return husk.Tenant{}, err
		}
		quota := change(convert.Quota(row))
		if _, err := q.UpdateTenantQuota(ctx, db.UpdateTenantQuotaParams{
			ID: id, QuotaPods: quota.Pods, QuotaCpuMillis: quota.CPUMillis, QuotaMemoryMib: quota.MemoryMiB,
			QuotaVolumes: quota.Volumes, QuotaVolumeGib: quota.VolumeGiB, QuotaSnapshots: quota.Snapshots, QuotaNetworks: quota.Networks,
			QuotaFloating: quota.Addresses, QuotaImages: quota.Images, QuotaConfigs: quota.Configs, QuotaServices: quota.Services, QuotaIngresses: quota.Ingresses, QuotaSecurityGroups: quota.SecurityGroups, QuotaRequestsPerSecond: quota.RequestsPerSecond, QuotaPriority: quota.Priority, QuotaScratchGib: quota.ScratchGiB, QuotaVolumeClassGib: convert.NotNil(quota.VolumeClassGiB),
		}); err != nil {
			return husk.Tenant{}, err
		}
		if err := audit(ctx, q, id, "tenant", id.String()); err != nil {
			return husk.Tenant{}, err
		}
		return tenant(ctx, q, id)
	})
}

func lockTenant(ctx context.Context, q *db.Queries, id ID) (db.Tenant, error) {
	row, err := q.LockTenantNetwork(ctx, id)
	if err != nil {
		return row.Tenant, pgerr.NotFound(err, "tenant")
	}
	return row.Tenant, ifMatch(ctx, convert.Tenant(row.Tenant, row.Cidr))
}

// DeleteTenant removes a tenant with its accounts, keys and network. Codes: not_found, conflict (it still owns objects),
// precondition_failed.
func (c Control) DeleteTenant(ctx context.Context, id ID) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if _, err := lockTenant(ctx, q, id); err != nil {
			return err
		}
		_, err := q.DeleteTenant(ctx, id)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23503" {
			return husk.Errorf(husk.CodeConflict, "", "the tenant still owns pods, volumes, images, configs, secrets, services, ingresses, floating addresses or security groups (%s); delete them first", pg.TableName)
		}
		if err != nil {
			return err
		}
		return audit(ctx, q, id, "tenant", id.String())
	})
}

// Name returns the tenant's name. Codes: not_found.
func (t Tenant) Name(ctx context.Context) (string, error) {
	return inTenant(ctx, t, func(q *db.Queries) (string, error) {
		name, err := q.TenantName(ctx, t.id)
		return name, pgerr.NotFound(err, "tenant")
	})
}

// Quota returns the tenant's limits and how much of them it uses. Codes: not_found (tenant).
func (t Tenant) Quota(ctx context.Context) (husk.QuotaUse, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.QuotaUse, error) {
		row, err := q.QuotaUse(ctx, t.id)
		if err != nil {
			return husk.QuotaUse{}, pgerr.NotFound(err, "tenant")
		}
		classes, err := q.VolumeClassUse(ctx, t.id)
		byClass := make(map[string]int64, len(classes))
		for _, c := range classes {
			byClass[c.Class] = c.Gib
		}
		return husk.QuotaUse{
			Limits: convert.Quota(row.Tenant),
			Used: husk.ResourceUse{
				Pods: row.Pods, CPUMillis: row.CpuMillis, MemoryMiB: row.MemoryMib, ScratchGiB: row.ScratchGib, Volumes: row.Volumes, VolumeGiB: row.VolumeGib, VolumeClassGiB: byClass, Snapshots: row.Snapshots,
				Networks: row.Networks, Addresses: row.Addresses, Images: row.Images, Configs: row.Configs, Services: row.Services, Ingresses: row.Ingresses, SecurityGroups: row.SecurityGroups,
			},
		}, err
	})
}

// TakeTenantTokens takes tokens for API requests of a tenant from a bucket that all servers share. The tenant's quota sets its rate. It
// returns how many tokens were granted and the rate per second. A tenant that does not exist gets none.
func (c Control) TakeTenantTokens(ctx context.Context, tenantID ID) (granted float64, perSecond int, err error) {
	r, err := inControl(ctx, c, func(q *db.Queries) (db.TakeTenantTokensRow, error) {
		row, err := q.TakeTenantTokens(ctx, tenantID)
		return row, ignoreNoRows(err)
	})
	return r.Granted, r.Rate, err
}

// TakeTokens takes up to wanted tokens from a bucket that all servers share. The bucket fills at rate per second and holds burst.
func (c Control) TakeTokens(ctx context.Context, bucket string, rate, burst, wanted float64) (float64, error) {
	return inControl(ctx, c, func(q *db.Queries) (float64, error) {
		return q.TakeTokens(ctx, db.TakeTokensParams{Bucket: bucket, Rate: rate, Burst: burst, Wanted: wanted})
	})
}

// ForgetRateBuckets deletes buckets that were not used for an hour: they are full again.
func (c Control) ForgetRateBuckets(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetRateBuckets(ctx) })
}
