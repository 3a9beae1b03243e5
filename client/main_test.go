// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"husk/test/site"
)

// TestMain starts an installation for the examples and the tests, with a real server and a node
// without machines; see package test/site. The installation stops when the process ends.
// FromEnvironment returns a client for one of its tenants.
func TestMain(m *testing.M) {
	s := site.Start(process{})
	tenant, err := s.Tenant(context.Background())
	if err != nil {
		process{}.Fatal(err)
	}
	for name, value := range map[string]string{"HUSK_API": s.URL, "HUSK_CLIENT_ID": tenant.ClientID.String(), "HUSK_CLIENT_SECRET": tenant.ClientSecret} {
		if err := os.Setenv(name, value); err != nil {
			process{}.Fatal(err)
		}
	}
	installation = s
	os.Exit(m.Run())
}

var installation *site.Site

// process implements testing.TB for helpers whose resources last as long as the test process.
type process struct{ testing.TB }

func (process) Helper()                  {}
func (process) Cleanup(func())           {}
func (process) Context() context.Context { return context.Background() }
func (process) Log(args ...any)          { fmt.Fprintln(os.Stderr, args...) }

func (process) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

func (p process) Fatalf(format string, args ...any) { p.Fatal(fmt.Sprintf(format, args...)) }
