// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk/openapi"
	"husk/server/request"
)

// ListAudit lists who changed what in the tenant.
func (a api) ListAudit(ctx context.Context, r openapi.ListAuditRequestObject) (openapi.ListAuditResponseObject, error) {
	entries, next, err := a.tenant(ctx).Audit(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.AuditEntry](entries, next)
	return openapi.ListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}

// AdminListAudit lists who changed what anywhere.
func (a api) AdminListAudit(ctx context.Context, r openapi.AdminListAuditRequestObject) (openapi.AdminListAuditResponseObject, error) {
	entries, next, err := a.control.Audit(ctx, request.Page(r.Params.Limit, r.Params.Cursor), r.Params.TenantID)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.AuditEntry](entries, next)
	return openapi.AdminListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}
