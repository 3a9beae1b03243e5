// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"time"

	"husk/openapi"
)

// LoginOptions returns the OIDC issuers of the installation. It needs no token.
func (c *Client) LoginOptions(ctx context.Context) ([]openapi.LoginOption, error) {
	options, err := Decode[openapi.LoginOptions](c.api.GetLoginOptions(ctx))
	return options.Issuers, err
}

// WhoAmI returns the identity of this client.
func (c *Client) WhoAmI(ctx context.Context) (openapi.Identity, error) {
	return Decode[openapi.Identity](c.api.WhoAmI(ctx))
}

// Platform returns the version of the server.
func (c *Client) Platform(ctx context.Context) (openapi.Platform, error) {
	return Decode[openapi.Platform](c.api.GetPlatform(ctx))
}

// Quota returns the tenant's limits and what it uses of them.
func (c *Client) Quota(ctx context.Context) (openapi.QuotaUse, error) {
	return Decode[openapi.QuotaUse](c.api.GetQuota(ctx))
}

// Usage returns what the tenant has used and what that costs. Without parameters, it covers this month until now.
func (c *Client) Usage(ctx context.Context, params openapi.GetUsageParams) (openapi.UsageList, error) {
	params.Format = nil
	return Decode[openapi.UsageList](c.api.GetUsage(ctx, &params))
}

// UsageCSV writes the same as [Client.Usage], as comma-separated values.
func (c *Client) UsageCSV(ctx context.Context, params openapi.GetUsageParams, w io.Writer) error {
	params.Format = new(openapi.GetUsageParamsFormatCsv)
	return copyBody(w)(c.api.GetUsage(ctx, &params))
}

// copyBody returns a function that writes the body of a response.
func copyBody(w io.Writer) func(resp *http.Response, err error) error {
	return func(resp *http.Response, err error) error {
		if err := Check(resp, err); err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(w, resp.Body)
		return err
	}
}

// AuditSelect selects entries of the audit log. The zero value selects all.
type AuditSelect struct {
	From, To         *time.Time // To is exclusive
	Operation, Actor string     // Actor is a name or an ID
	PerPage          int        // the number of entries per request; 0 is as many as possible
}

// page returns the parameters of one page, for the log of all tenants.
func (s AuditSelect) page(limit *openapi.Limit, cursor *openapi.Cursor) openapi.AdminListAuditParams {
	p := openapi.AdminListAuditParams{Limit: limit, Cursor: cursor, From: s.From, To: s.To}
	if s.PerPage > 0 {
		p.Limit = &s.PerPage
	}
	if s.Operation != "" {
		p.Operation = &s.Operation
	}
	if s.Actor != "" {
		p.Actor = &s.Actor
	}
	return p
}

// Audit yields the audit log, newest entries first.
func (c *Client) Audit(ctx context.Context, s AuditSelect) iter.Seq2[openapi.AuditEntry, error] {
	return pages[openapi.AuditEntry](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		p := s.page(limit, cursor)
		return c.api.ListAudit(ctx, &openapi.ListAuditParams{Limit: p.Limit, Cursor: p.Cursor, From: p.From, To: p.To, Operation: p.Operation, Actor: p.Actor})
	})
}
