// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk"
	"husk/openapi"
)

// GetQuota returns the tenant's limits and how much of them it uses.
func (a api) GetQuota(ctx context.Context, _ openapi.GetQuotaRequestObject) (openapi.GetQuotaResponseObject, error) {
	use, err := a.tenant(ctx).Quota(ctx)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetQuota200JSONResponse](use)
}

// changeQuota changes the given limits and keeps the others.
func changeQuota(c openapi.QuotaChange) func(husk.Quota) husk.Quota {
	return func(q husk.Quota) husk.Quota {
		for _, limit := range []struct {
			from *int
			to   *int
		}{
			{c.Pods, &q.Pods},
			{c.CPUMillis, &q.CPUMillis},
			{c.MemoryMiB, &q.MemoryMiB},
			{c.Volumes, &q.Volumes},
			{c.VolumeGiB, &q.VolumeGiB},
			{c.ScratchGiB, &q.ScratchGiB},
			{c.Snapshots, &q.Snapshots},
			{c.Networks, &q.Networks},
			{c.Addresses, &q.Addresses},
			{c.Images, &q.Images},
			{c.Configs, &q.Configs},
			{c.Services, &q.Services},
			{c.SecurityGroups, &q.SecurityGroups},
			{c.RequestsPerSecond, &q.RequestsPerSecond},
			{c.Priority, &q.Priority},
		} {
			if limit.from != nil {
				*limit.to = *limit.from
			}
		}
		return q
	}
}
