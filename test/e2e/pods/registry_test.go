// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk/dev"
	"husk/test/images"
)

const (
	registryUser     = "someone"
	registryPassword = "something"
)

// privateRegistry runs a registry that requires a login and contains busybox, until the test ends.
func privateRegistry(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "husk-registry-") // the path of t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	port, err := dev.FreePort(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Start(context.Background(), dev.Config{
		StateDir: dir, Parts: dev.Registry, RegistryPort: port, RegistryUser: registryUser, RegistryPassword: registryPassword, Throwaway: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cache, err := images.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	built, err := images.Build(t.Context(), cache, "busybox")
	if err == nil {
		_, err = images.Push(t.Context(), s.RegistryAddr(), built, remote.WithAuth(&authn.Basic{Username: registryUser, Password: registryPassword}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.RegistryAddr()
}
