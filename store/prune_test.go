// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk/store"
)

// pruning returns the SQL that docs/operations.md tells an operator to run as a superuser.
func pruning(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok1 := strings.Cut(string(page), "## The audit log\n")
	_, block, ok2 := strings.Cut(section, "<<'END'\n")
	sql, _, ok3 := strings.Cut(block, "END\n")
	if !ok1 || !ok2 || !ok3 {
		t.Fatal("docs/operations.md has no block that prunes the audit log")
	}
	return sql
}

// The documentation shows operators how to delete old entries. After that, the log is append-only
// again.
func TestTheAuditLogIsPrunedAsDocumented(t *testing.T) {
	t.Parallel()
	h := open(t)
	super, err := pgx.Connect(t.Context(), h.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(t.Context())
	entry := func(age time.Duration) {
		if _, err := super.Exec(t.Context(), `INSERT INTO audit (id, at, operation, actor_kind, actor_id, actor_name, request_id)
			VALUES ($1, $2, 'createPod', 'operator', $1, 'first-operator', 'test')`, uuid.New(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	entry(500 * 24 * time.Hour)
	entry(399 * 24 * time.Hour)
	if _, err := super.Exec(t.Context(), pruning(t)); err != nil {
		t.Fatal(err)
	}
	left, _, err := h.Audit(t.Context(), store.Page{Limit: 10}, nil)
	if err != nil || len(left) != 1 {
		t.Fatalf("%d entries remain, want only the one that is younger than 400 days: %v", len(left), err)
	}
	if _, err := super.Exec(t.Context(), "DELETE FROM audit"); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("after pruning, deleting entries returns %v", err)
	}
	owner, err := pgx.Connect(t.Context(), h.url(store.RoleOwner))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(t.Context())
	entry(500 * 24 * time.Hour)
	if _, err := owner.Exec(t.Context(), pruning(t)); err != nil {
		t.Fatal(err)
	}
	if left, _, err := h.Audit(t.Context(), store.Page{Limit: 10}, nil); err != nil || len(left) != 2 {
		t.Errorf("pruning as the owner of the schema, who sees no rows, must delete nothing, but %d of 2 entries remain: %v", len(left), err)
	}
}
