// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"time"

	"husk/cli/print"
	"husk/openapi"
)

// Audit shows who changed what.
var Audit = print.View[openapi.AuditEntry]{
	Kind: "audit",
	Name: func(e openapi.AuditEntry) string { return e.ID.String() },
	Columns: []print.Column[openapi.AuditEntry]{
		print.Col("TIME", func(e openapi.AuditEntry) string { return e.At.Format(time.RFC3339) }),
		print.Col("WHO", func(e openapi.AuditEntry) string { return e.ActorName }),
		print.Col("OPERATION", func(e openapi.AuditEntry) string { return e.Operation }),
		print.Col("KIND", func(e openapi.AuditEntry) string { return string(openapi.Value(e.ObjectKind)) }),
		print.Col("OBJECT-ID", func(e openapi.AuditEntry) string { return openapi.Value(e.ObjectID) }),
		print.Col("FROM", func(e openapi.AuditEntry) string { return openapi.Value(e.Address) }),
		print.Col("DETAIL", func(e openapi.AuditEntry) string { return print.Shortened(openapi.Value(e.Detail), 60) }),
		print.WideCol("TENANT-ID", func(e openapi.AuditEntry) string {
			if e.TenantID == nil {
				return ""
			}
			return e.TenantID.String()
		}),
		print.WideCol("ACTOR", func(e openapi.AuditEntry) string { return string(e.ActorKind) }),
		print.WideCol("ACTOR-ID", func(e openapi.AuditEntry) string { return e.ActorID.String() }),
		print.WideCol("API-KEY", func(e openapi.AuditEntry) string {
			if e.KeyID == nil {
				return ""
			}
			return e.KeyID.String()
		}),
		print.WideCol("REQUEST", func(e openapi.AuditEntry) string { return e.RequestID }),
	},
}
