// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"husk"
	"husk/ingress"
	"husk/service"
	"husk/service/address"
	"husk/service/securitygroup"
	"husk/store"
	"husk/store/moves"
)

// twoTenants creates two tenants with a row in every table that has tenants' rows.
func twoTenants(t *testing.T) (fixture, husk.Tenant, husk.Tenant) {
	h := open(t)
	tenants, pods := make([]husk.Tenant, 2), make([]husk.Pod, 2)
	node := h.node(10)
	for i := range tenants {
		tenants[i] = h.tenant()
		config, err := h.as(tenants[i].ID).CreateConfig(t.Context(), once(), husk.Config{Kind: husk.ConfigPlain, Name: "web", Labels: map[string]string{}}, husk.Values{"a": []byte("1")})
		must(t, config, err)
		spec := specOf(h.image(tenants[i]), h.volume(tenants[i]))
		spec.Volumes = append(spec.Volumes, husk.PodVolume{Name: "web", Config: &husk.ConfigFiles{Name: "web"}})
		pod := h.createPod(tenants[i], spec)
		h.place(node.ID, pod)
		pods[i] = pod
		h.requestVolume(tenants[i])
		h.exec("INSERT INTO drains (node_id, max_moves, max_moves_per_tenant, restart, was_cordoned) VALUES ('" + node.ID.String() + "', 1, 1, false, false) ON CONFLICT DO NOTHING")
		if err := h.Moves().Blocked(t.Context(), node.ID, moves.DrainingPod{TenantID: tenants[i].ID, PodID: pod.ID}, "no node"); err != nil {
			t.Fatal(err)
		}
		if err := h.RecordSamples(t.Context(), node.ID, []husk.PodSample{{PodID: pod.ID}}); err != nil {
			t.Fatal(err)
		}
		h.backdate(pod, 3*time.Hour)
		start := time.Now().Add(-2 * time.Hour)
		stop := start.Add(time.Minute)
		if _, err := h.RecordRuns(t.Context(), node.ID, []husk.MachineRun{{PodID: pod.ID, StartedAt: start, StoppedAt: &stop, Traffic: husk.Traffic{SentBytes: 1}}}); err != nil {
			t.Fatal(err)
		}
		// The first report in another hour adds a row to usage_traffic.
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), "UPDATE usage_totals SET counted_at = counted_at - interval '1 hour' WHERE tenant_id = $1", tenants[i].ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.RecordRuns(t.Context(), node.ID, []husk.MachineRun{{PodID: pod.ID, StartedAt: start, StoppedAt: &stop, Traffic: husk.Traffic{SentBytes: 2}}}); err != nil {
			t.Fatal(err)
		}
		key, err := h.CreateTenantKey(t.Context(), tenants[i].ID, once(), "owner", store.KeyRequest{Name: "key"})
		must(t, key, err)
		// The audit log needs a request with a caller.
		ctx := store.WithRequest(t.Context(), store.Request{ID: "request", Operation: "CreateUser", Caller: husk.Caller{
			Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: key.ClientID, Name: "owner", Role: husk.RoleOwner, TenantID: tenants[i].ID,
		}})
		user, err := h.as(tenants[i].ID).CreateUser(ctx, once(), husk.User{Issuer: "https://login.example.com", Subject: "7", Role: husk.RoleViewer})
		must(t, user, err)
		issuer, err := h.as(tenants[i].ID).CreateIssuer(ctx, once(), husk.OIDCIssuer{Name: "login", Issuer: "https://login.example.com", ClientID: "husk", RoleMappings: []husk.RoleMapping{}})
		must(t, issuer, err)
	}
	for i, tenant := range tenants {
		shown, err := h.as(tenant.ID).Ingresses().Create(t.Context(), once(), webIngress(fmt.Sprintf("tenant%d.example.com", i)))
		must(t, shown, err)
		for _, sql := range []string{
			"INSERT INTO ingress_requests (tenant_id, ingress_id, at, request) SELECT tenant_id, id, now(), '{}' FROM ingresses WHERE tenant_id = $1",
			"INSERT INTO ingress_traffic (tenant_id, ingress_id) SELECT tenant_id, id FROM ingresses WHERE tenant_id = $1", "INSERT INTO ingress_orders VALUES ($1, now(), 1)",
		} {
			if _, err := h.connect(store.RoleControl).Exec(t.Context(), sql, tenant.ID); err != nil {
				t.Fatal(err)
			}
		}
		encrypted, err := h.as(tenant.ID).AddVolume(t.Context(), once(), husk.Volume{Name: "encrypted", Labels: map[string]string{}, SizeGiB: 1, Encrypted: true})
		must(t, encrypted, err)
		snapshot, err := h.as(tenant.ID).CreateSnapshot(t.Context(), once(), husk.Snapshot{Name: "s", Labels: map[string]string{}, VolumeID: h.volume(tenant).ID})
		must(t, snapshot, err)
		h.exec("INSERT INTO snapshot_uses (tenant_id, snapshot_id, pod_id) SELECT tenant_id, '" + snapshot.ID.String() + "', id FROM pods WHERE tenant_id = '" + tenant.ID.String() + "'")
		made, err := h.as(tenant.ID).Services().Create(t.Context(), once(), webService("web"))
		must(t, made, err)
		group, err := h.as(tenant.ID).SecurityGroups().Create(t.Context(), once(), securitygroup.Group{Name: "web", Labels: map[string]string{}}.Complete(false))
		must(t, group, err)
		at := netip.MustParseAddr("10.64.0.2")
		if err := h.SecurityGroups().Record(t.Context(), node.ID, []husk.SecurityCount{{GroupID: group.ID, Direction: "ingress", Packets: 1, Bytes: 1}}, []husk.SecurityDrop{{
			At: time.Now(), GroupID: group.ID, Direction: "ingress", PodID: pods[i].ID, Protocol: "TCP", Source: at, Destination: at,
		}}); err != nil {
			t.Fatal(err)
		}
		reserved, err := h.as(tenant.ID).Addresses().Create(t.Context(), once(), address.Address{Name: "web", Labels: map[string]string{}})
		must(t, reserved, err)
	}
	if closed, err := h.CloseUsageHours(t.Context(), h.epoch(), time.Now()); err != nil || closed == 0 {
		t.Fatalf("%d hours of the ledger were closed: %v", closed, err)
	}
	return h, tenants[0], tenants[1]
}

// tenantTables asks the catalogue which tables have tenants' rows, so that new tables are included.
func tenantTables(h fixture) []string {
	h.t.Helper()
	rows, err := h.connect(store.RoleOwner).Query(h.t.Context(), `SELECT c.table_name FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE' ORDER BY 1`)
	must(h.t, rows, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if must(h.t, tables, err); len(tables) < 9 {
		h.t.Fatalf("only %v have a tenant_id", tables)
	}
	return tables
}

// onlyOperators are tables with a tenant_id that a tenant's request cannot read at all.
var onlyOperators = map[string]bool{"credentials": true, "pod_samples": true, "work": true, "placements": true, "drain_failures": true, "network_changes": true, "disk_keys": true, "ingress_orders": true}

// as runs f in a transaction with the tenants' role and this value of husk.tenant, and rolls it
// back.
func as(t *testing.T, c *pgx.Conn, setting string, f func(tx pgx.Tx)) {
	t.Helper()
	tx, err := c.Begin(t.Context())
	must(t, tx, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT set_config('husk.tenant', $1, true)", setting); err != nil {
		t.Fatal(err)
	}
	f(tx)
}

func denied(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42501" // insufficient_privilege, also if a policy refuses
}

func TestAQueryWithoutAWhereShowsOnlyTheTenantsOwnRows(t *testing.T) {
	t.Parallel()
	h, mine, theirs := twoTenants(t)
	c := h.connect(store.RoleTenant)
	for _, table := range tenantTables(h) {
		total := queryOne[int](h, store.RoleControl, fmt.Sprintf("SELECT count(DISTINCT tenant_id) FROM %s WHERE tenant_id = ANY($1)", table), []uuid.UUID{mine.ID, theirs.ID})
		if total != 2 && table != "idempotency_keys" {
			t.Errorf("%s has rows of %d tenants, want 2; otherwise this test proves nothing", table, total)
		}
		as(t, c, mine.ID.String(), func(tx pgx.Tx) {
			var foreign, own int
			err := tx.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*) FILTER (WHERE tenant_id <> $1), count(*) FILTER (WHERE tenant_id = $1) FROM %s", table), mine.ID).Scan(&foreign, &own)
			switch {
			case onlyOperators[table]:
				if !denied(err) {
					t.Errorf("a tenant's request can read %s: %v", table, err)
				}
			case err != nil:
				t.Errorf("%s: %v", table, err)
			case foreign != 0 || own == 0:
				t.Errorf("%s shows %d foreign and %d own rows", table, foreign, own)
			}
		})
	}
}

func TestWithoutACallerNoRowsAreVisible(t *testing.T) {
	t.Parallel()
	h, mine, theirs := twoTenants(t)
	c := h.connect(store.RoleTenant)
	for _, table := range append(tenantTables(h), "tenants") {
		if onlyOperators[table] {
			continue
		}
		count := func(what string, q interface {
			QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
		},
		) {
			var n int
			if err := q.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s shows %d rows %s: %v", table, n, what, err)
			}
		}
		fresh := h.connect(store.RoleTenant)
		count("on a connection that never named a tenant", fresh)
		// After a transaction with SET LOCAL the setting is an empty string, not NULL.
		as(t, c, mine.ID.String(), func(pgx.Tx) {})
		count("after a transaction that named a tenant", c)
		as(t, c, "", func(tx pgx.Tx) { count("with an empty tenant", tx) })
		as(t, c, uuid.NewString(), func(tx pgx.Tx) { count("to a tenant that does not exist", tx) })
		_ = fresh.Close(t.Context())
	}
	as(t, c, mine.ID.String(), func(tx pgx.Tx) {
		var n int
		if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM tenants WHERE id = $1", theirs.ID).Scan(&n); err != nil || n != 0 {
			t.Errorf("a tenant sees %d rows of another tenant in the table tenants: %v", n, err)
		}
	})
}

func TestAWrongTenantIDInAQueryFindsNoRows(t *testing.T) {
	t.Parallel()
	h, mine, theirs := twoTenants(t)
	c := h.connect(store.RoleTenant)
	for _, table := range tenantTables(h) {
		for _, sql := range []string{
			"SELECT 1 FROM %s WHERE tenant_id = $1",
			"UPDATE %s SET tenant_id = tenant_id WHERE tenant_id = $1",
			"DELETE FROM %s WHERE tenant_id = $1",
			"SELECT 1 FROM %s WHERE tenant_id = $1 FOR UPDATE",
		} {
			as(t, c, mine.ID.String(), func(tx pgx.Tx) {
				tag, err := tx.Exec(t.Context(), fmt.Sprintf(sql, table), theirs.ID)
				if err != nil && !denied(err) {
					t.Errorf("%s: %v", fmt.Sprintf(sql, table), err)
				}
				if tag.RowsAffected() != 0 {
					t.Errorf("%s reached %d foreign rows", fmt.Sprintf(sql, table), tag.RowsAffected())
				}
			})
		}
		// A row can neither be given to another tenant nor inserted for it.
		as(t, c, mine.ID.String(), func(tx pgx.Tx) {
			tag, err := tx.Exec(t.Context(), fmt.Sprintf("UPDATE %s SET tenant_id = $1", table), theirs.ID)
			if !denied(err) {
				t.Errorf("a row of %s was given to another tenant: %d rows, %v", table, tag.RowsAffected(), err)
			}
		})
	}
	as(t, c, mine.ID.String(), func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), "INSERT INTO events (tenant_id, kind, object_id, reason) VALUES ($1, 'pod', $2, 'Forged')", theirs.ID, uuid.New())
		if !denied(err) {
			t.Errorf("a tenant could write another's event: %v", err)
		}
	})
}

// Row-level security does not apply to the checks of foreign keys. Therefore every foreign key
// includes the tenant.
func TestNoForeignKeyReachesIntoAnotherTenant(t *testing.T) {
	t.Parallel()
	h := open(t)
	rows, err := h.connect(store.RoleOwner).Query(t.Context(), `
		SELECT con.conname::text FROM pg_constraint con
		WHERE con.contype = 'f'
		  AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = con.confrelid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
		  AND NOT EXISTS (SELECT 1 FROM unnest(con.conkey, con.confkey) k (mine, theirs)
		      JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.mine AND a.attname = 'tenant_id'
		      JOIN pg_attribute b ON b.attrelid = con.confrelid AND b.attnum = k.theirs AND b.attname = 'tenant_id')`)
	must(t, rows, err)
	loose, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(must(t, loose, err)) > 0 {
		t.Errorf("foreign keys without the tenant: %v", loose)
	}
}

// A violation of a primary or unique key without the tenant would reveal that another tenant has
// this value.
func TestNoUniqueKeyOfATenantsTableLeaksAcrossTenants(t *testing.T) {
	t.Parallel()
	h := open(t)
	rows, err := h.connect(store.RoleOwner).Query(t.Context(), `
		SELECT i.indexrelid::regclass::text FROM pg_index i
		WHERE i.indisunique AND i.indrelid IN (SELECT a.attrelid FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
		      WHERE a.attname = 'tenant_id' AND r.relkind = 'r' AND r.relnamespace = 'public'::regnamespace)
		  AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'tenant_id' AND a.attnum = ANY (i.indkey::smallint[]))
		  AND has_table_privilege('husk_tenant', i.indrelid, 'INSERT') ORDER BY 1`)
	must(t, rows, err)
	leaks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	// Exceptions: values that the server chooses, which no tenant can try.
	leaks = slices.DeleteFunc(must(t, leaks, err), func(name string) bool {
		return slices.Contains([]string{"addresses_address_key", "api_keys_client_id_key", "audit_pkey", "oidc_issuers_pkey"}, name)
	})
	if len(leaks) > 0 {
		t.Errorf("unique keys without the tenant: %v", leaks)
	}
}

func TestEveryTableHasRowSecurity(t *testing.T) {
	t.Parallel()
	h := open(t)
	rows, err := h.connect(store.RoleOwner).Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
		AND relname <> 'schema_version' AND NOT (relrowsecurity AND (relforcerowsecurity OR NOT has_table_privilege('husk_tenant', oid, 'INSERT'))) ORDER BY 1`)
	must(t, rows, err)
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(must(t, open, err)) > 0 {
		t.Errorf("tables without (forced) row-level security: %v", open)
	}
	for role, may := range map[string]bool{store.RoleTenant: false, store.RoleControl: false, store.RoleIngress: false, store.RoleOwner: false} {
		if got := queryOne[bool](h, store.RoleOwner, "SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = $1", role); got != may {
			t.Errorf("%s can bypass row-level security", role)
		}
	}
}

// Statements that a tenant's request cannot run, whatever the role of the caller is.
func TestATenantsRequestHasNoOtherRights(t *testing.T) {
	t.Parallel()
	h, mine, _ := twoTenants(t)
	c := h.connect(store.RoleTenant)
	for _, sql := range []string{
		"SELECT * FROM nodes", "SELECT * FROM credentials", "SELECT * FROM signing_keys", "SELECT * FROM join_tokens", "SELECT * FROM certificate_authority", "SELECT * FROM node_certificates",
		"SELECT * FROM leadership", "UPDATE tenants SET quota_pods = 1000000", "UPDATE tenants SET name = 'x'", "DELETE FROM tenants",
		"DELETE FROM events", "UPDATE events SET message = ''", "UPDATE idempotency_keys SET response = '{}'", "DELETE FROM volumes", "DELETE FROM images",
		"UPDATE ingress_hosts SET tenant_id = current_tenant()", "UPDATE ingress_services SET address = '100.126.0.1'", "SELECT * FROM ingress_storage", "UPDATE networks SET cidr = '0.0.0.0/0'", "INSERT INTO networks VALUES (current_tenant(), current_tenant(), 1, '10.0.0.0/24')",
		"CREATE TABLE x ()", "SET ROLE husk_control", "TRUNCATE pods", "ALTER TABLE pods DISABLE ROW LEVEL SECURITY",
	} {
		as(t, c, mine.ID.String(), func(tx pgx.Tx) {
			if _, err := tx.Exec(t.Context(), sql); !denied(err) {
				t.Errorf("%s was not denied: %v", sql, err)
			}
		})
	}
}

func TestOneTenantsIDsAreUnknownToAnother(t *testing.T) {
	t.Parallel()
	h, mine, theirs := twoTenants(t)
	ctx := t.Context()
	pods, _, err := h.as(theirs.ID).Pods(ctx, store.Page{Limit: 10}, store.Filter{})
	must(t, pods, err)
	volumes, _, err := h.as(theirs.ID).Volumes(ctx, store.Page{Limit: 10}, store.Filter{})
	must(t, volumes, err)
	images, _, err := h.as(theirs.ID).Images(ctx, store.Page{Limit: 10}, nil)
	must(t, images, err)
	snapshots, _, err := h.as(theirs.ID).Snapshots(ctx, store.Page{Limit: 10}, store.Filter{})
	must(t, snapshots, err)
	addresses, _, err := h.as(theirs.ID).Addresses().List(ctx, store.Page{Limit: 10}, nil, nil)
	must(t, addresses, err)
	groups, _, err := h.as(theirs.ID).SecurityGroups().List(ctx, store.Page{Limit: 10}, nil, nil)
	must(t, groups, err)
	services, _, err := h.as(theirs.ID).Services().List(ctx, store.Page{Limit: 10}, nil, nil)
	must(t, services, err)
	ingresses, _, err := h.as(theirs.ID).Ingresses().List(ctx, store.Page{Limit: 10}, nil, nil)
	must(t, ingresses, err)
	own := h.volume(mine)
	calls := map[string]func(id store.ID) error{
		"get pod":       func(id store.ID) error { _, err := h.as(mine.ID).Pod(ctx, id); return err },
		"delete pod":    func(id store.ID) error { _, err := h.as(mine.ID).DeletePod(ctx, id); return err },
		"node of pod":   func(id store.ID) error { _, _, err := h.as(mine.ID).NodeOfPod(ctx, id); return err },
		"open session":  func(id store.ID) error { _, _, _, err := h.as(mine.ID).OpenSession(ctx, id, "x"); return err },
		"get volume":    func(id store.ID) error { _, err := h.as(mine.ID).Volume(ctx, id); return err },
		"delete volume": func(id store.ID) error { _, err := h.as(mine.ID).DeleteVolume(ctx, id); return err },
		"grow volume":   func(id store.ID) error { _, err := h.as(mine.ID).GrowVolume(ctx, id, 2); return err },
		"restore":       func(id store.ID) error { _, err := h.as(mine.ID).RestoreVolume(ctx, once(), own.ID, id); return err },
		"snapshot": func(id store.ID) error {
			_, err := h.as(mine.ID).CreateSnapshot(ctx, once(), husk.Snapshot{Name: "x", VolumeID: id})
			return err
		},
		"clone": func(id store.ID) error {
			_, err := h.as(mine.ID).AddVolume(ctx, once(), husk.Volume{Name: "x", SizeGiB: 1, Source: &husk.VolumeSource{SnapshotID: id}})
			return err
		},
		"attach a snapshot": func(id store.ID) error {
			spec := specOf(h.image(mine))
			spec.Volumes = []husk.PodVolume{{Name: "s", SnapshotID: id}}
			_, err := h.as(mine.ID).CreatePod(ctx, once(), named("pod"), map[string]string{}, nil, spec)
			return err
		},
		"get snapshot":          func(id store.ID) error { _, err := h.as(mine.ID).Snapshot(ctx, id); return err },
		"delete snapshot":       func(id store.ID) error { _, err := h.as(mine.ID).DeleteSnapshot(ctx, id); return err },
		"get service":           func(id store.ID) error { _, err := h.as(mine.ID).Services().Get(ctx, id); return err },
		"delete service":        func(id store.ID) error { return h.as(mine.ID).Services().Delete(ctx, id) },
		"get address":           func(id store.ID) error { _, err := h.as(mine.ID).Addresses().Get(ctx, id); return err },
		"delete address":        func(id store.ID) error { return h.as(mine.ID).Addresses().Delete(ctx, id) },
		"get security group":    func(id store.ID) error { _, err := h.as(mine.ID).SecurityGroups().Get(ctx, id); return err },
		"delete security group": func(id store.ID) error { return h.as(mine.ID).SecurityGroups().Delete(ctx, id) },
		"update security group": func(id store.ID) error {
			_, err := h.as(mine.ID).SecurityGroups().Update(ctx, id, nil, func(g securitygroup.Group) (securitygroup.Group, error) { return g, nil })
			return err
		},
		"bind address": func(id store.ID) error {
			_, err := h.as(mine.ID).Addresses().Create(ctx, once(), address.Address{Name: "a", Labels: map[string]string{}, Target: &address.Target{PodID: &id}})
			return err
		},
		"update service": func(id store.ID) error {
			_, err := h.as(mine.ID).Services().Update(ctx, id, nil, func(s service.Service) (service.Service, error) { return s, nil })
			return err
		},
		"get ingress":    func(id store.ID) error { _, err := h.as(mine.ID).Ingresses().Get(ctx, id); return err },
		"delete ingress": func(id store.ID) error { return h.as(mine.ID).Ingresses().Delete(ctx, id) },
		"update ingress": func(id store.ID) error {
			_, err := h.as(mine.ID).Ingresses().Update(ctx, id, nil, func(i ingress.Ingress) (ingress.Ingress, error) { return i, nil })
			return err
		},
		"requests of ingress": func(id store.ID) error { _, err := h.as(mine.ID).Ingresses().Requests(ctx, id, 0, 1); return err },
		"get image":           func(id store.ID) error { _, err := h.as(mine.ID).Image(ctx, id); return err },
		"delete image":        func(id store.ID) error { _, err := h.as(mine.ID).DeleteImage(ctx, id); return err },
	}
	for name, call := range calls {
		for _, foreign := range []store.ID{pods[0].ID, volumes[0].ID, images[0].ID, snapshots[0].ID, services[0].ID, addresses[0].ID, groups[0].ID, ingresses[0].ID} {
			err, unknown := call(foreign), call(uuid.New())
			wantCode(t, err, husk.CodeNotFound)
			if err.Error() != unknown.Error() {
				t.Errorf("%s: the error for a foreign ID is %q, and for an unknown one %q", name, err, unknown)
			}
		}
	}
}
