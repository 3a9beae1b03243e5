package store

import (
	"context"

	"husk"
	"husk/store/db"
)

func quotaOf(t db.Tenant) husk.Quota {
	return husk.Quota{
		Pods: t.QuotaPods, CPUMillis: t.QuotaCpuMillis, MemoryMiB: t.QuotaMemoryMib, Volumes: t.QuotaVolumes, VolumeGiB: t.QuotaVolumeGib,
		Snapshots: t.QuotaSnapshots, Networks: t.QuotaNetworks, Addresses: t.QuotaAddresses, Images: t.QuotaImages,
		RequestsPerSecond: t.QuotaRequestsPerSecond, Priority: t.QuotaPriority,
	}
}

// Quota returns a tenant's limits and what is in use. Codes: not_found (tenant).
func (s *Store) Quota(ctx context.Context, tenantID ID) (husk.QuotaUse, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.QuotaUse, error) {
		row, err := q.QuotaUse(ctx, tenantID)
		return husk.QuotaUse{
			Limits: quotaOf(row.Tenant),
			Used: husk.ResourceUse{
				Pods: row.Pods, CPUMillis: row.CpuMillis, MemoryMiB: row.MemoryMib, Volumes: row.Volumes, VolumeGiB: row.VolumeGib,
				Networks: row.Networks, Addresses: row.Pods, Images: row.Images,
			},
		}, orNotFound(err, "tenant")
	})
}

// checkQuota refuses an order that would lift use above the limit.
func checkQuota(field, what string, used, more, limit int) error {
	if used+more <= limit {
		return nil
	}
	return husk.Errorf(husk.CodeQuotaExceeded, field, "the tenant's quota allows %d %s; %d are in use and %d more were asked for", limit, what, used, more)
}

// TakeTenantTokens takes API requests for a tenant out of what its quota allows, from a bucket that all servers share. It returns how
// many were granted and how many a second the quota allows. A tenant that does not exist gets none.
func (s *Store) TakeTenantTokens(ctx context.Context, tenantID ID) (granted float64, perSecond int, err error) {
	r, err := inControl(ctx, s, func(q *db.Queries) (db.TakeTenantTokensRow, error) {
		row, err := q.TakeTenantTokens(ctx, tenantID)
		return row, ignoreNoRows(err)
	})
	return r.Granted, r.Rate, err
}

// TakeTokens takes up to wanted tokens from a bucket that all servers share, fills by rate a second, and holds burst.
func (s *Store) TakeTokens(ctx context.Context, bucket string, rate, burst, wanted float64) (float64, error) {
	return inControl(ctx, s, func(q *db.Queries) (float64, error) {
		return q.TakeTokens(ctx, db.TakeTokensParams{Bucket: bucket, Rate: rate, Burst: burst, Wanted: wanted})
	})
}

// ForgetRateBuckets removes buckets that were not used for an hour: they are full.
func (s *Store) ForgetRateBuckets(ctx context.Context) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) { return q.ForgetRateBuckets(ctx) })
}
