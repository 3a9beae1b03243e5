// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestASessionIsInTheAuditLogBeforeItBegins(t *testing.T) {
	t.Parallel()
	h, mine, _ := twoTenants(t)
	pods, _, err := h.as(mine.ID).Pods(t.Context(), store.Page{Limit: 10}, store.Filter{})
	must(t, pods, err)
	ctx := store.WithRequest(t.Context(), store.Request{ID: "r", Operation: "ExecInPod", Caller: husk.Caller{Kind: husk.CallerOperator, ID: uuid.New(), Name: "somebody"}})
	long := "sh -c \x00" + strings.Repeat("ä", 4096) + "\xff"
	if _, _, _, err := h.as(mine.ID).OpenSession(ctx, pods[0].ID, long); err != nil {
		t.Fatal(err)
	}
	entries, _, err := h.as(mine.ID).Audit(t.Context(), store.Page{Limit: 10}, store.AuditFilter{})
	must(t, entries, err)
	var got []husk.AuditEntry
	for _, e := range entries {
		if e.Operation == "execInPod" {
			got = append(got, e)
		}
	}
	if len(got) != 1 || got[0].ObjectKind != "pod" || got[0].ObjectID != pods[0].ID.String() || got[0].ActorName != "somebody" {
		t.Fatalf("the entries are %+v", got)
	}
	if d := got[0].Detail; !strings.HasPrefix(d, "sh -c ä") || !strings.HasSuffix(d, "…") || len(d) > 4096 {
		t.Errorf("the detail has %d bytes: %.20q", len(d), d)
	}
}
