// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
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

// The documentation shows operators how to drop old entries. The log stays append-only.
func TestTheAuditLogIsPrunedAsDocumented(t *testing.T) {
	t.Parallel()
	h := open(t)
	super, err := pgx.Connect(t.Context(), h.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(t.Context())
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := super.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, months := range []int{-16, -12} { // of an installation that is as old
		begin, end := monthStart(months), monthStart(months+1)
		exec(fmt.Sprintf("SELECT new_partition('audit', 'audit%[1]s'); ALTER TABLE audit ATTACH PARTITION partitions.audit%[1]s FOR VALUES FROM ('%[2]s') TO ('%[3]s')",
			begin.Format("_2006_01"), begin.Format(time.RFC3339), end.Format(time.RFC3339)))
		exec(`INSERT INTO audit (id, at, operation, actor_kind, actor_id, actor_name, request_id) VALUES ($1, $2, 'createPod', 'operator', $1, 'first-operator', 'test')`, uuid.New(), begin.Add(time.Hour))
	}
	owner := h.connect(store.RoleOwner)
	if _, err := owner.Exec(t.Context(), pruning(t)); err == nil || !strings.Contains(err.Error(), "superuser") {
		t.Errorf("as the owner of the schema, pruning returns %v", err)
	}
	exec(pruning(t))
	left, _, err := h.Audit(t.Context(), store.Page{Limit: 10}, nil, store.AuditFilter{})
	if err != nil || len(left) != 1 || left[0].At.Before(monthStart(-12)) {
		t.Fatalf("after pruning, the entries are %+v, want only the one that is younger than 400 days: %v", left, err)
	}
	for _, sql := range []string{"DELETE FROM audit", "DELETE FROM partitions.audit" + monthStart(-12).Format("_2006_01"), "TRUNCATE audit", "TRUNCATE partitions.audit" + monthStart(0).Format("_2006_01")} {
		if _, err := super.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("after pruning, %s returns %v", sql, err)
		}
	}
}
