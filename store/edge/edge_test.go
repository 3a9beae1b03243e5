// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk/dev/devtest"
	"husk/ingress"
	"husk/store"
	"husk/store/edge"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns two processes with the same database, and a connection of the platform.
func open(t *testing.T) (a, b *edge.Store, platform *pgx.Conn) {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	processes := make([]*edge.Store, 2)
	for i := range processes {
		s, err := edge.Open(t.Context(), edge.Config{URL: url(store.RoleIngress), Role: store.RoleIngress, Keys: [][]byte{make([]byte, 32)}, Log: slog.New(slog.DiscardHandler)})
		must(t, err)
		t.Cleanup(s.Close)
		processes[i] = s
	}
	platform, err := pgx.Connect(t.Context(), url(store.RoleControl))
	must(t, err)
	t.Cleanup(func() { _ = platform.Close(context.WithoutCancel(t.Context())) })
	return processes[0], processes[1], platform
}

// host stores an ingress with a host and a service, of a new tenant.
func host(t *testing.T, c *pgx.Conn, name string) edge.ID {
	t.Helper()
	id := edge.ID{Tenant: uuid.New(), Ingress: uuid.New()}
	var columns, zeros string // the quotas without a default
	must(t, c.QueryRow(t.Context(), `SELECT string_agg(column_name, ', '), string_agg('0', ', ') FROM information_schema.columns
		WHERE table_name = 'tenants' AND column_name LIKE 'quota%' AND column_default IS NULL`).Scan(&columns, &zeros))
	for _, sql := range []string{
		`INSERT INTO tenants (id, name, ` + columns + `) VALUES ($1, $2::text, ` + zeros + `)`,
		`INSERT INTO ingresses (tenant_id, id, name, labels, rules) VALUES ($1, '` + id.Ingress.String() + `', 'web', '{}', jsonb_build_array(jsonb_build_object('host', $2::text, 'paths', '[{"path": "/", "service": "web", "port": 80}]'::jsonb)))`,
		`INSERT INTO ingress_hosts (host, tenant_id, ingress_id) VALUES ($2, $1, '` + id.Ingress.String() + `')`,
		`INSERT INTO ingress_services (tenant_id, service, address) VALUES ($1, 'web', ('100.126.0.' || length($2::text))::inet)`,
	} {
		if _, err := c.Exec(t.Context(), sql, id.Tenant, name); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return id
}

func TestAProcessReadsHostsWithTheirServices(t *testing.T) {
	t.Parallel()
	a, _, platform := open(t)
	id := host(t, platform, "a.example.com")
	other := host(t, platform, "bb.example.com")
	// A rule for a host that another tenant has is not served.
	_, err := platform.Exec(t.Context(), `UPDATE ingresses SET rules = rules || (SELECT rules FROM ingresses WHERE tenant_id = $2) WHERE tenant_id = $1`, other.Tenant, id.Tenant)
	must(t, err)
	hosts, err := a.Hosts(t.Context())
	if err != nil || len(hosts) != 2 {
		t.Fatalf("the hosts are %+v: %v", hosts, err)
	}
	for _, h := range hosts {
		if h.Name == "a.example.com" && (h.ID != id || h.Paths[0].Service != netip.MustParseAddrPort("100.126.0.13:80")) {
			t.Errorf("the host is %+v", h)
		}
	}
}

func TestOneProcessLooksAtACertificate(t *testing.T) {
	t.Parallel()
	a, b, platform := open(t)
	id := host(t, platform, "a.example.com")
	due, err := a.Claim(t.Context(), 8, time.Minute)
	if err != nil || len(due) != 1 || due[0].Host != "a.example.com" || due[0].Tenant != id.Tenant || due[0].ExpiresAt != nil {
		t.Fatalf("the first process gets %+v: %v", due, err)
	}
	if due, err := b.Claim(t.Context(), 8, time.Minute); err != nil || len(due) != 0 {
		t.Errorf("the second process gets %+v: %v", due, err)
	}
	must(t, a.Failed(t.Context(), "a.example.com", strings.Repeat("no\x00", 1000), time.Now()))
	due, err = b.Claim(t.Context(), 8, time.Minute)
	if err != nil || len(due) != 1 || due[0].Failures != 1 {
		t.Fatalf("after a failure, the second process gets %+v: %v", due, err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	must(t, b.Issued(t.Context(), "a.example.com", time.Now(), until, until))
	if due, err := a.Claim(t.Context(), 8, time.Minute); err != nil || len(due) != 0 {
		t.Errorf("with a certificate, the first process gets %+v: %v", due, err)
	}
	if has, err := a.HasCertificate(t.Context(), "a.example.com"); err != nil || !has {
		t.Errorf("the host has a certificate: %t, %v", has, err)
	}
	for want := 1; want < 4; want++ {
		if n, until, err := a.Order(t.Context(), id.Tenant); err != nil || n != want || time.Until(until) > time.Hour {
			t.Errorf("order %d is number %d until %s: %v", want, n, until, err)
		}
	}
}

func TestALockHasOneHolder(t *testing.T) {
	t.Parallel()
	a, b, _ := open(t)
	try := func(s *edge.Store, want bool) {
		t.Helper()
		if got, err := s.TryLock(t.Context(), "x"); err != nil || got != want {
			t.Errorf("the lock is taken: %t, want %t: %v", got, want, err)
		}
	}
	try(a, true)
	try(b, false)
	try(a, true) // it renews the lock
	must(t, b.Unlock(t.Context(), "x"))
	try(b, false)
	must(t, a.Unlock(t.Context(), "x"))
	try(b, true)
}

func TestValuesAreSealed(t *testing.T) {
	t.Parallel()
	a, b, platform := open(t)
	secret := []byte("a private key that nobody reads")
	for _, key := range []string{"certificates/a/a.key", "certificates/a/a.crt", "certificates/ab/x"} {
		must(t, a.Put(t.Context(), key, append(secret, key...)))
	}
	v, err := b.Get(t.Context(), "certificates/a/a.key")
	if err != nil || !bytes.Equal(v.Data, append(secret, "certificates/a/a.key"...)) || time.Since(v.Modified) > time.Minute {
		t.Errorf("the other process reads %q of %s: %v", v.Data, v.Modified, err)
	}
	if _, err := b.Get(t.Context(), "other"); !errors.Is(err, edge.ErrNone) {
		t.Errorf("a value that does not exist: %v", err)
	}
	if _, err := platform.Exec(t.Context(), "SELECT value FROM ingress_storage"); err == nil {
		t.Error("the platform's role can read what is stored")
	}
	must(t, b.Remove(t.Context(), "certificates/a"))
	keys, err := a.Keys(t.Context(), "certificates/")
	if err != nil || len(keys) != 1 || keys[0] != "certificates/ab/x" {
		t.Errorf("the keys are %v: %v", keys, err)
	}
}

func TestAReportKeepsTheLatestRequests(t *testing.T) {
	t.Parallel()
	a, b, platform := open(t)
	id := host(t, platform, "a.example.com")
	gone := edge.ID{Tenant: id.Tenant, Ingress: uuid.New()}
	began := time.Now()
	for n, s := range []*edge.Store{a, b, a} {
		of := &edge.Traffic{Requests: [5]int64{0, 400, 0, 1, 0}, SentBytes: 7}
		for i := range 400 {
			of.Latest = append(of.Latest, ingress.Request{At: began.Add(time.Duration(n*400+i) * time.Millisecond), Path: "/", Status: n})
		}
		must(t, s.Report(t.Context(), map[edge.ID]*edge.Traffic{id: of, gone: of}))
	}
	var kept, successful, sent int
	must(t, platform.QueryRow(t.Context(), "SELECT count(*) FROM ingress_requests").Scan(&kept))
	must(t, platform.QueryRow(t.Context(), "SELECT successful, sent_bytes FROM ingress_traffic").Scan(&successful, &sent))
	if kept != ingress.KeptRequests || successful != 1200 || sent != 21 {
		t.Errorf("%d requests are kept, and %d with %d bytes are counted", kept, successful, sent)
	}
	var first, last time.Time
	must(t, platform.QueryRow(t.Context(), "SELECT (array_agg(at ORDER BY id))[1], (array_agg(at ORDER BY id DESC))[1] FROM ingress_requests").Scan(&first, &last))
	if first.Before(began.Add(199*time.Millisecond)) || last.Before(began.Add(1198*time.Millisecond)) {
		t.Errorf("the requests from %s to %s are kept", first.Sub(began), last.Sub(began))
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"", "plain", "a\x00b", "\xff\xfe", "\u202eevil", "\x1b[31m", strings.Repeat("é", 300)} {
		f.Add(text, 64)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = max(1, most%512)
		got := edge.Text(text, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}
