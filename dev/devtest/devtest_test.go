// SPDX-License-Identifier: Apache-2.0

package devtest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"husk/dev/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func TestEveryTestHasItsOwnDatabase(t *testing.T) {
	t.Parallel()
	for range 2 {
		c, err := pgx.Connect(t.Context(), devtest.Postgres(t)("husk_owner"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := c.Exec(t.Context(), "CREATE TABLE only_once ()"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCephIsAvailable(t *testing.T) {
	t.Parallel()
	s := devtest.Ceph(t)
	for _, keyring := range []string{s.CephAdminKeyring(), s.CephKeyring()} {
		if _, err := os.Stat(keyring); err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.Command("rbd", "-c", s.CephConf(), "create", "husk-volumes/x", "--size", "1G").CombinedOutput(); err != nil {
		t.Errorf("rbd create: %v: %s", err, out)
	}
}
