// SPDX-License-Identifier: Apache-2.0

package devtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"husk/dev"
)

// URL returns the URL with which a role connects: husk_owner, husk_control, husk_tenant, or
// postgres for the superuser.
type URL = func(role string) string

var (
	databases atomic.Int64

	templatesMu sync.Mutex
	templates   = map[string]*template{}
)

type template struct {
	once sync.Once
	err  error
}

// Postgres creates an empty database, owned by husk_owner, that is dropped when the test ends.
func Postgres(t testing.TB) URL {
	t.Helper()
	return PostgresFrom(t, "empty", func(context.Context, URL) error { return nil })
}

// PostgresFrom creates a database with the content that prepare writes, such as all migrations.
// prepare runs once per binary and name, and must close its connections. Tests get copies, which
// take about a tenth of a second.
func PostgresFrom(t testing.TB, name string, prepare func(context.Context, URL) error) URL {
	t.Helper()
	s := postgres.get(t)
	templatesMu.Lock()
	tmpl := templates[name]
	if tmpl == nil {
		tmpl = &template{}
		templates[name] = tmpl
	}
	templatesMu.Unlock()
	source := "template_" + name
	tmpl.once.Do(func() {
		if tmpl.err = execute(s, "CREATE DATABASE "+quote(source)+" TEMPLATE husk OWNER husk_owner"); tmpl.err == nil {
			tmpl.err = prepare(context.Background(), databaseURL(s, source))
		}
	})
	if tmpl.err != nil {
		t.Fatalf("devtest: template %s: %v", name, tmpl.err)
	}
	db := fmt.Sprintf("test_%d", databases.Add(1))
	if err := execute(s, "CREATE DATABASE "+db+" TEMPLATE "+quote(source)+" OWNER husk_owner"); err != nil {
		t.Fatalf("devtest: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(s, db); err != nil {
			t.Errorf("devtest: %v", err)
		}
	})
	return databaseURL(s, db)
}

func databaseURL(s *dev.Stack, db string) URL {
	return func(role string) string {
		raw := s.PostgresURL(role)
		if role == "postgres" {
			raw, _ = s.SuperuserURL(db) // the password has already been read
		}
		u, err := url.Parse(raw)
		if err != nil {
			panic(err) // the URL is valid, because this package made it
		}
		u.Path = "/" + db
		return u.String()
	}
}

func execute(s *dev.Stack, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	super, err := s.SuperuserURL("postgres")
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, super)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

// drop drops a database. FORCE ends its connections, but Postgres waits only five seconds for them,
// which is too short on a busy machine.
func drop(s *dev.Stack, db string) error {
	for attempt := 1; ; attempt++ {
		err := execute(s, "DROP DATABASE "+db+" WITH (FORCE)")
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55006" || attempt == 12 { // object_in_use
			return err
		}
	}
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
