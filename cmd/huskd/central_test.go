// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/dev"
	"husk/dev/host"
	"husk/pki"
	"husk/store"
)

// A credential is what a node presents to the southbound database.
type credential struct{ key, certificate, authority string }

func TestMain(m *testing.M) {
	host.BeInit()
	os.Exit(m.Run())
}

// A Postgres and OVN, and the installation that is on them.
func startOVN(t *testing.T, cfg dev.Config) (in installation, masterKey string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "huskd") // shorter than t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // Postgres' user passes through
		t.Fatal(err)
	}
	var ports [2]int
	for i := range ports {
		if ports[i], err = dev.FreePort(netip.MustParseAddr("127.0.0.1")); err != nil {
			t.Fatal(err)
		}
	}
	cfg.StateDir, cfg.Parts, cfg.OVNDir, cfg.AwaitTLS, cfg.Throwaway = filepath.Join(dir, "s"), dev.Postgres|dev.OVN, "../../build/ovn", true, true
	cfg.PostgresPort, cfg.SouthboundPort = ports[0], ports[1]
	stack, err := dev.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	masterKey = strings.Repeat("7f", 32)
	master := filepath.Join(dir, "master.key")
	if err := os.WriteFile(master, []byte(masterKey), 0o600); err != nil {
		t.Fatal(err)
	}
	return installation{stack: stack, secrets: devSecrets{masterKeyFile: master}}, masterKey
}

func TestANodeChangesOnlyItselfInTheSouthboundDatabase(t *testing.T) {
	t.Parallel()
	in, masterKey := startOVN(t, dev.Config{})
	stack := in.stack
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(stack.SouthboundRemote(), "ssl:")); err == nil {
		conn.Close()
		t.Error("the southbound database accepts nodes before it has a certificate")
	}
	if err := in.secureSouthbound(t.Context()); err != nil {
		t.Fatal(err)
	}

	ours := authorityOf(t, stack, masterKey)
	theirs, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	const n1, n2 = "6f1c1e0e-0000-4000-8000-00000000000a", "6f1c1e0e-0000-4000-8000-00000000000b"
	first, second := issueNode(t, ours, ours, n1), issueNode(t, ours, ours, n2)
	stranger := issueNode(t, theirs, ours, n1)
	sbctl := func(c credential, args ...string) error {
		cmd := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovn-sbctl", append([]string{ //nolint:gosec // a test
			"--db=" + stack.SouthboundRemote(), "--timeout=5", "--private-key=" + c.key, "--certificate=" + c.certificate, "--ca-cert=" + c.authority,
		}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(err.Error() + ": " + string(out))
		}
		return nil
	}
	// northd writes what nodes may do into the database a moment after its start.
	deadline := time.Now().Add(20 * time.Second)
	for err = sbctl(first, "chassis-add", n1, "geneve", "192.0.2.11"); err != nil; err = sbctl(first, "chassis-add", n1, "geneve", "192.0.2.11") {
		if time.Now().After(deadline) {
			t.Fatalf("a node cannot register itself: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := sbctl(second, "chassis-add", n2, "geneve", "192.0.2.12"); err != nil {
		t.Errorf("the second node cannot register itself: %v", err)
	}
	for _, c := range []struct {
		what, want string
		as         credential
		args       []string
	}{
		{"a node registers another one", "permission error", first, []string{"chassis-add", "6f1c1e0e-0000-4000-8000-00000000000c", "geneve", "192.0.2.13"}},
		{"a node changes another one", "permission error", first, []string{"set", "chassis", n2, "external_ids:mine=yes"}},
		{"a node removes another one", "permission error", first, []string{"chassis-del", n2}},
		{"a node changes flows", "permission error", first, []string{"create", "logical_dp_group", "datapaths=[]"}},
		{"a node opens the database", "permission error", first, []string{"del-connection"}},
		{"a node of another installation connects", "database connection failed", stranger, []string{"show"}},
	} {
		if err := sbctl(c.as, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := sbctl(first, "show"); err != nil {
		t.Errorf("a node cannot read: %v", err)
	}
	if err := sbctl(first, "set", "chassis", n1, "external_ids:mine=yes"); err != nil {
		t.Errorf("a node cannot change its own row: %v", err)
	}
}

// In a cluster, servers and northd reach the databases by the network, as in production.
func TestOnlyServersReachTheNorthboundDatabase(t *testing.T) {
	in, masterKey := startOVN(t, dev.Config{Fabric: netip.MustParsePrefix("198.18.20.0/24"), Centrals: 3})
	if err := in.secureSouthbound(t.Context()); err != nil { // which waits until a northd is active
		t.Fatal(err)
	}
	ours := authorityOf(t, in.stack, masterKey)
	node := issueNode(t, ours, ours, "6f1c1e0e-0000-4000-8000-00000000000a")
	file := func(name string) string { return filepath.Join(in.stack.OVNTLS(), name) }
	node.authority = file(northboundAuthority) // it knows the database
	server := credential{file(northboundKey), file(northboundCertificate), file(northboundAuthority)}
	nbctl := func(c credential, args ...string) error {
		cmd := exec.CommandContext(t.Context(), "../../build/ovn/bin/ovn-nbctl", append([]string{ //nolint:gosec // a test
			"--db=" + in.stack.NorthboundRemote(), "--timeout=10", "--private-key=" + c.key, "--certificate=" + c.certificate, "--ca-cert=" + c.authority,
		}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(err.Error() + ": " + string(out))
		}
		return nil
	}
	if err := nbctl(server, "--wait=sb", "ls-add", "a"); err != nil {
		t.Errorf("with the certificate of the central part: %v", err)
	}
	if nbctl(node, "ls-add", "b") == nil {
		t.Error("with the certificate of a node, the northbound database can be changed")
	}
	northbound, err := ours.Northbound()
	if err != nil {
		t.Fatal(err)
	}
	holder, err := pki.NewServerHolder(northbound)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(strings.Split(in.stack.NorthboundRemote(), ",")[0], "ssl:")
	conn, err := (&tls.Dialer{Config: pki.NorthboundClient(northbound.Root(), holder)}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("as a server: %v", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	_, err = conn.Write([]byte(`{"method":"list_dbs","params":[],"id":1}`))
	n, readErr := conn.Read(answer)
	if err = errors.Join(err, readErr); err != nil || !strings.Contains(string(answer[:n]), "OVN_Northbound") {
		t.Errorf("as a server: %s, %v", answer[:n], err)
	}
}

func authorityOf(t *testing.T, stack *dev.Stack, masterKey string) *pki.Authority {
	t.Helper()
	key, err := hex.DecodeString(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{URL: stack.PostgresURL("husk_owner"), MasterKeys: [][]byte{key}, PodRange: netip.MustParsePrefix(defaultPodRange), NetworkPrefix: 22})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	kept, err := st.Control().CertificateAuthority(t.Context(), func() (store.Authority, error) {
		return store.Authority{}, errors.New("the certificate was not issued by the authority in the database")
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := pki.OpenAuthority(kept.Certificate, kept.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issueNode makes a node's certificate. The node trusts another authority, which may be the same.
func issueNode(t *testing.T, by, trusts *pki.Authority, id string) credential {
	t.Helper()
	key, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := by.IssueNode(id, request, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{centralKey: key, centralCertificate: issued.PEM, centralAuthority: trusts.Root().PEM()} {
		if err := replaceFile(dir, name, text); err != nil {
			t.Fatal(err)
		}
	}
	return credential{filepath.Join(dir, centralKey), filepath.Join(dir, centralCertificate), filepath.Join(dir, centralAuthority)}
}
