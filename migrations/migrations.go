// Package migrations holds the numbered SQL that makes and changes the schema. Forward only.
package migrations

import "embed"

// FS holds the migrations, in the form that tern reads.
//
//go:embed *.sql
var FS embed.FS
