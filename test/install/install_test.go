// SPDX-License-Identifier: Apache-2.0

//go:build install

package install

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/dev"
	"husk/dev/balance"
	"husk/dev/host"
	"husk/test/docs"
	"husk/test/images"
	"husk/test/stack"
)

func TestMain(m *testing.M) {
	host.BeInit() // the machines
	os.Exit(m.Run())
}

const (
	registryPort = 5000
	operator     = "5f0f0c52-4a0f-4d51-9f0e-7d5f6a3b0c01"
)

// bed has what the page supposes: Ceph, a registry, and the networks between the machines.
type bed struct {
	*dev.Stack
	t    *testing.T
	work string
	env  []string // of the operator's own machine
}

func newBed(t *testing.T) *bed {
	t.Helper()
	work := os.Getenv("HUSK_INSTALL_WORK")
	if work == "" {
		t.Fatal("HUSK_INSTALL_WORK is not set; run make install-check")
	}
	started, err := dev.Start(context.WithoutCancel(t.Context()), dev.Config{
		StateDir: filepath.Join(work, "stack"), Parts: dev.Ceph | dev.Registry, Throwaway: true, OSDSizeBytes: 8 << 30, RegistryPort: registryPort,
		Fabric: netip.MustParsePrefix("10.213.77.0/24"), Overlay: netip.MustParsePrefix("10.213.78.0/24"), Provider: netip.MustParsePrefix("10.213.80.0/20"),
		Progress: dev.Lines(os.Stderr),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := started.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := started.Balance(netip.AddrPortFrom(started.EntryAddr(), registryPort).String(), balance.Backend{Addr: started.RegistryAddr()}); err != nil {
		t.Fatal(err)
	}
	b := &bed{Stack: started, t: t, work: work}
	// The operator has the command line of the release.
	debs, err := filepath.Glob(filepath.Join(os.Getenv("HUSK_INSTALL_RELEASE"), "husk_*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("the packages are %v (%v)", debs, err)
	}
	own := filepath.Join(work, "own")
	if out, err := exec.Command("dpkg", "-x", debs[0], own).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.env = append(os.Environ(), "PATH="+filepath.Join(own, "usr/bin")+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+filepath.Join(work, "login"))
	return b
}

// types runs a script on the operator's own machine.
func (b *bed) types(script string) string {
	b.t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script) //nolint:gosec // the documentation's
	cmd.Dir, cmd.Env = b.work, b.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%v:\n%s%s\nof\n%s", err, out.String(), errs.String(), script)
	}
	b.t.Logf("the operator: %s", strings.TrimSpace(script))
	return out.String()
}

// logIn types a line of the page that asks for a secret.
func (b *bed) logIn(line, id, secret string) {
	b.t.Helper()
	line, _, _ = strings.Cut(line, "   ") // a comment
	line = strings.Replace(line, "--client-id …", "--client-id "+id, 1)
	b.types(line + " --client-secret-stdin <<< " + secret)
}

// line returns the line of a block that begins like this.
func line(t *testing.T, block, begin string) string {
	t.Helper()
	for l := range strings.Lines(block) {
		if strings.HasPrefix(l, begin) {
			return strings.TrimSpace(l)
		}
	}
	t.Fatalf("the page has no line that begins with %q in\n%s", begin, block)
	return ""
}

// except returns a block without the lines that begin like these.
func except(block string, begins ...string) string {
	var kept strings.Builder
lines:
	for l := range strings.Lines(block) {
		for _, b := range begins {
			if strings.HasPrefix(strings.TrimSpace(l), b) {
				continue lines
			}
		}
		kept.WriteString(l)
	}
	return kept.String()
}

func TestAnInstallationAsDocumented(t *testing.T) {
	b := newBed(t)
	server, api := b.ServerAddr(0).String(), "http://"+netip.AddrPortFrom(b.ServerAddr(0), 8080).String()
	cache, err := images.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	built, err := images.Build(t.Context(), cache, "nginx")
	if err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), netip.AddrPortFrom(b.EntryAddr(), registryPort).String(), built)
	if err != nil {
		t.Fatal(err)
	}
	// One server instead of three, and no proxy.
	names := strings.NewReplacer(
		"https://husk.example.com", api,
		"registry.example.com/nginx:1.22", refs["nginx"],
		"ssl:192.0.2.11:6641,ssl:192.0.2.12:6641,ssl:192.0.2.13:6641", "ssl:"+server+":6641",
		"ssl:192.0.2.11:16642,ssl:192.0.2.12:16642,ssl:192.0.2.13:16642", "ssl:"+server+":16642",
		"192.0.2.11", server, "192.0.2.12", server,
		"…/ceph", "/root/ceph",
	)
	page, err := docs.Console("../../docs/install.md", names)
	if err != nil {
		t.Fatal(err)
	}
	ovn, err := docs.Console("../../docs/ovn.md", names)
	if err != nil {
		t.Fatal(err)
	}

	s := boot(t, b.Stack, b.work, "s1", dev.HostConfig{Kind: dev.ServerHost, Addr: b.ServerAddr(0)})
	var nodes [2]*machine
	for i := range nodes {
		nodes[i] = boot(t, b.Stack, b.work, fmt.Sprintf("n%d", i+1), dev.HostConfig{Kind: dev.NodeHost, Addr: b.NodeAddr(i), Overlay: b.OverlayAddr(i)})
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range append(nodes[:], s) {
				t.Logf("%s:\n%s", m.name, m.journal())
			}
		}
	})

	// While the server is installed, the nodes get their packages.
	var packages sync.WaitGroup
	for _, n := range nodes {
		packages.Go(func() {
			if _, err := n.try(except(page["A node"][0], "ls ")); err != nil { // there may be no KVM
				t.Error(err)
			}
		})
	}

	// The server, with Postgres and OVN's databases on the same machine.
	keyring, err := os.ReadFile(b.CephKeyring())
	if err != nil {
		t.Fatal(err)
	}
	s.write("/root/"+filepath.Base(b.CephKeyring()), string(keyring), 0o600)
	s.types(page["Ceph and Postgres"][0] + "\nprintf %s \"$PASSWORD\" > /root/password\n")
	password := s.types("cat /root/password")
	blocks := page["Servers"]
	s.types(strings.ReplaceAll(blocks[0], "ceph.client.husk-server.keyring", filepath.Base(b.CephKeyring())))
	url := "postgres://:" + password + "@127.0.0.1:5432/husk"
	s.set("server.yaml", map[string]string{
		"database-url": url, "master-key-file": "/etc/husk/master.key", "ceph-monitors": "[" + strings.Join(b.MonHosts(), ",") + "]",
		"ceph-keyring": "/etc/husk/" + filepath.Base(b.CephKeyring()), "ceph-user": dev.CephUser, "operator-client-id": operator,
		"operator-secret-file": "/etc/husk/operator.secret", "listen": server + ":8080", "allow-egress": "[" + b.EntryAddr().String() + "/32]",
	})
	s.types(strings.ReplaceAll(except(blocks[1], "journalctl"), "127.0.0.1:8080", server+":8080"))

	// OVN's databases.
	blocks = ovn["Servers"]
	s.types("URL=" + url + "\n" + blocks[0])
	s.write("/etc/default/ovn-central", except(blocks[1], "--db-nb-cluster-remote"), 0o644)
	s.types("systemctl restart ovn-central")
	s.active("ovn-central")
	s.types(blocks[2])
	s.set("server.yaml", map[string]string{
		"ovn-northbound": "[ssl:" + server + ":6641]", "provider-gateway": b.ProviderGateway().String(),
		"provider-addresses": b.ProviderAddresses(), "floating-addresses": b.FloatingAddresses(),
	})
	s.types("systemctl restart husk-server")
	s.types(strings.ReplaceAll(line(t, page["Servers"][1], "curl"), "127.0.0.1:8080", server+":8080"))

	// The nodes.
	packages.Wait()
	if t.Failed() {
		t.FailNow()
	}
	secret := strings.TrimSpace(s.types("cat /etc/husk/operator.secret"))
	b.logIn(line(t, page["A node"][1], "husk login"), operator, secret)
	for i, n := range nodes {
		n.useUserspaceDatapath(b, i)
		token := strings.TrimSpace(b.types(line(t, page["A node"][1], "husk node join-token") + " -o jsonpath={.token}"))
		n.set("agent.yaml", map[string]string{
			"server": "https://" + server + ":8443", "listen": n.addr.String() + ":7443", "ovn-southbound": "[ssl:" + server + ":6642]", "join-token": token,
			"provider-bridge": providerBridge, "allow-emulation": "true", "overlay-address": b.OverlayAddr(i).String(), "memory-mib": "2048",
		})
		n.types(except(page["A node"][2], "journalctl"))
		n.active("husk-agent")
		n.set("agent.yaml", map[string]string{"join-token": `""`})
	}
	stack.Eventually(t, time.Minute, func() error {
		if got := b.types("husk nodes --no-headers"); strings.Count(got, "Ready") != len(nodes) {
			return fmt.Errorf("the nodes are\n%s", got)
		}
		return nil
	})

	// The first tenant.
	first := page["The first tenant"][0]
	b.types(line(t, first, "husk tenant create"))
	key := strings.Fields(b.types(line(t, first, "husk tenant api-key") + ` -o jsonpath="{.clientID} {.clientSecret}"`))
	b.logIn(line(t, first, "husk login"), key[0], key[1])
	b.types(line(t, first, "husk run"))
	b.types(line(t, first, "husk service create"))
	b.types(line(t, first, "husk address create"))
	stack.Eventually(t, time.Minute, func() error {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.Replace(line(t, first, "curl"), "curl", "curl -sS --max-time 5", 1)) //nolint:gosec // the documentation's
		cmd.Env = b.env
		out, err := cmd.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "nginx") {
			err = fmt.Errorf("the page is %q", out)
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		t.Logf("the pod answers through the service with %d bytes", len(out))
		return nil
	})
	b.types("husk version --server")
	b.types("husk delete pod web")
}

// useUserspaceDatapath lets Open vSwitch work without its module of the kernel, and adds the bridge of a gateway. A machine with the module needs
// only the bridge, as docs/ovn.md says.
func (m *machine) useUserspaceDatapath(b *bed, i int) {
	m.t.Helper()
	m.types(fmt.Sprintf(`ovs-vsctl set open . other_config:userspace-tso-enable=true external_ids:ovn-bridge-datapath-type=netdev
systemctl restart openvswitch-switch
ovs-vsctl add-br %[1]s -- set bridge %[1]s datapath_type=netdev other_config:hwaddr=02:fb:%02[3]x:00:00:01 -- add-port %[1]s under0
ip address add %[2]s/24 dev %[1]s
ip link set %[1]s up
ovs-vsctl add-br %[4]s -- set bridge %[4]s datapath_type=netdev -- add-port %[4]s prov0`, tunnelBridge, b.OverlayAddr(i), i+1, providerBridge))
}
