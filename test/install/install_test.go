// SPDX-License-Identifier: Apache-2.0

//go:build install

package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/client"
	"husk/dev"
	"husk/dev/balance"
	"husk/dev/host"
	"husk/openapi"
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
	operatorID   = "5f0f0c52-4a0f-4d51-9f0e-7d5f6a3b0c01"
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
	b := &bed{Stack: started, t: t, work: work}
	if err := started.Balance(b.at(registryPort), balance.Backend{Addr: started.RegistryAddr()}); err != nil {
		t.Fatal(err)
	}
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

// at returns a port of the operator's own machine.
func (b *bed) at(port uint16) string { return netip.AddrPortFrom(b.EntryAddr(), port).String() }

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

// installation is what the page leads to.
type installation struct {
	*bed
	servers, nodes [2]*machine
	api            string // through the balancer
	operator       *client.Client
	tenant         *client.Client
	pod            openapi.Pod
	page           string // URL of the pod's
}

func TestAnInstallationAsDocumented(t *testing.T) {
	in := install(t)
	if folder := os.Getenv("HUSK_INSTALL_UPGRADE"); folder != "" {
		in.upgrade(folder)
	}
	in.types("husk delete pod web --wait")
}

func install(t *testing.T) *installation {
	t.Helper()
	b := newBed(t)
	in := &installation{bed: b, api: "http://" + b.at(8080)}
	cache, err := images.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	built, err := images.Build(t.Context(), cache, "nginx")
	if err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), b.at(registryPort), built)
	if err != nil {
		t.Fatal(err)
	}
	// OVN's databases have one member, and a balancer without TLS stands for the proxy.
	server := b.ServerAddr(0).String()
	names := strings.NewReplacer(
		"https://husk.example.com", in.api,
		"registry.example.com/nginx:1.22", refs["nginx"],
		"ssl:192.0.2.11:6641,ssl:192.0.2.12:6641,ssl:192.0.2.13:6641", "ssl:"+server+":6641",
		"ssl:192.0.2.11:16642,ssl:192.0.2.12:16642,ssl:192.0.2.13:16642", "ssl:"+server+":16642",
		"192.0.2.11", server, "192.0.2.12", server,
		"…/ceph.client.husk-server.keyring", "/root/"+filepath.Base(b.CephKeyring()), "ceph.client.husk-server.keyring", filepath.Base(b.CephKeyring()),
	)
	page, err := docs.Console("../../docs/install.md", names)
	if err != nil {
		t.Fatal(err)
	}
	ovn, err := docs.Console("../../docs/ovn.md", names)
	if err != nil {
		t.Fatal(err)
	}

	for i := range in.servers {
		in.servers[i] = boot(t, b.Stack, b.work, fmt.Sprintf("s%d", i+1), dev.HostConfig{Kind: dev.ServerHost, Addr: b.ServerAddr(i)})
	}
	for i := range in.nodes {
		in.nodes[i] = boot(t, b.Stack, b.work, fmt.Sprintf("n%d", i+1), dev.HostConfig{Kind: dev.NodeHost, Addr: b.NodeAddr(i), Overlay: b.OverlayAddr(i)})
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range append(in.servers[:], in.nodes[:]...) {
				t.Logf("%s:\n%s", m.name, m.journal())
			}
		}
	})

	// While the first server is installed, the others get their packages.
	var packages sync.WaitGroup
	for i, script := range []string{line(t, page["Servers"][0], "apt-get"), except(page["A node"][0], "ls "), except(page["A node"][0], "ls ")} { // there may be no KVM
		packages.Go(func() {
			if _, err := append(in.servers[1:], in.nodes[:]...)[i].try(script); err != nil {
				t.Error(err)
			}
		})
	}
	defer packages.Wait()

	// The first server, with Postgres and OVN's databases on the same machine.
	s := in.servers[0]
	keyring, err := os.ReadFile(b.CephKeyring())
	if err != nil {
		t.Fatal(err)
	}
	s.write("/root/"+filepath.Base(b.CephKeyring()), string(keyring), 0o600)
	s.types(page["Ceph and Postgres"][0] + "\nprintf %s \"$PASSWORD\" > /root/password\n")
	s.types(fmt.Sprintf(`runuser -u postgres -- psql -c "ALTER SYSTEM SET listen_addresses = '*'"
echo "hostssl husk all %s/24 scram-sha-256" >> /etc/postgresql/*/main/pg_hba.conf
systemctl restart postgresql`, server))
	url := "postgres://:" + s.types("cat /root/password") + "@" + server + ":5432/husk"
	servers := page["Servers"]
	s.types(servers[0])
	s.set("server.yaml", map[string]string{
		"database-url": url, "master-key-file": "/etc/husk/master.key", "ceph-monitors": "[" + strings.Join(b.MonHosts(), ",") + "]",
		"ceph-keyring": "/etc/husk/" + filepath.Base(b.CephKeyring()), "ceph-user": dev.CephUser, "operator-client-id": operatorID,
		"operator-secret-file": "/etc/husk/operator.secret", "allow-egress": "[" + b.EntryAddr().String() + "/32]",
	})
	s.types(except(servers[1], "journalctl"))

	// OVN's databases.
	s.types("URL=" + url + "\n" + ovn["Servers"][0])
	s.write("/etc/default/ovn-central", except(ovn["Servers"][1], "--db-nb-cluster-remote"), 0o644)
	s.types("systemctl restart ovn-central")
	s.active("ovn-central")
	s.types(ovn["Servers"][2])
	s.set("server.yaml", map[string]string{
		"ovn-northbound": "[ssl:" + server + ":6641]", "provider-gateway": b.ProviderGateway().String(),
		"provider-addresses": b.ProviderAddresses(), "floating-addresses": b.FloatingAddresses(),
		"listen": "0.0.0.0:8080", "trusted-proxies": "[" + b.EntryAddr().String() + "/32]",
	})
	s.types("systemctl restart husk-server\n" + line(t, servers[1], "curl"))

	// The other server.
	packages.Wait()
	if t.Failed() {
		t.FailNow()
	}
	s.types("tar -C /etc -czf /root/husk.tar.gz husk")
	copied, err := os.ReadFile(filepath.Join(s.root, "/root/husk.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	in.servers[1].write("/root/husk.tar.gz", string(copied), 0o600)
	in.servers[1].types("tar -C /etc -xzf /root/husk.tar.gz")
	in.servers[1].types(except(servers[1], "journalctl"))
	in.balance()

	// The nodes.
	secret := strings.TrimSpace(s.types("cat /etc/husk/operator.secret"))
	if in.operator, err = client.New(in.api, client.WithAPIKey(operatorID, secret)); err != nil {
		t.Fatal(err)
	}
	b.logIn(line(t, page["A node"][1], "husk login"), operatorID, secret)
	for i, n := range in.nodes {
		n.useUserspaceDatapath(b, i)
		token := strings.TrimSpace(b.types(line(t, page["A node"][1], "husk node join-token") + " -o jsonpath={.token}"))
		n.set("agent.yaml", map[string]string{
			"server": "https://" + b.at(8443), "listen": n.addr.String() + ":7443", "ovn-southbound": "[ssl:" + server + ":6642]", "join-token": token,
			"provider-bridge": providerBridge, "allow-emulation": "true", "overlay-address": b.OverlayAddr(i).String(), "memory-mib": "2048",
		})
		n.types(except(page["A node"][2], "journalctl"))
		n.active("husk-agent")
	}
	in.awaitNodes()
	b.types("husk nodes")
	for _, n := range in.nodes {
		n.set("agent.yaml", map[string]string{"join-token": `""`})
	}
	t.Log("all nodes are Ready")
	in.runPod(page["The first tenant"][0])
	return in
}

// awaitNodes waits until all nodes are Ready.
func (in *installation) awaitNodes() {
	in.t.Helper()
	stack.Eventually(in.t, time.Minute, func() error {
		nodes, err := in.operator.Nodes.List(in.t.Context())
		if err == nil && len(nodes) != len(in.nodes) {
			err = fmt.Errorf("there are %d nodes", len(nodes))
		}
		for _, n := range nodes {
			if n.State != openapi.NodeStateReady {
				err = errors.Join(err, fmt.Errorf("node %s is %s", n.Name, n.State))
			}
		}
		return err
	})
}

// balance passes requests of clients and agents on to the servers that are ready.
func (in *installation) balance() {
	in.t.Helper()
	for _, port := range []uint16{8080, 8443} {
		var backends []balance.Backend
		for i := range in.servers {
			ready := "http://" + netip.AddrPortFrom(in.ServerAddr(i), 8080).String()
			backends = append(backends, balance.Backend{Addr: netip.AddrPortFrom(in.ServerAddr(i), port).String(), Ready: ready + "/readyz", Alive: ready + "/healthz"})
		}
		if err := in.Balance(in.at(port), backends...); err != nil {
			in.t.Fatal(err)
		}
	}
}

// runPod types the commands for the first tenant.
func (in *installation) runPod(first string) {
	t := in.t
	t.Helper()
	in.types(line(t, first, "husk tenant create"))
	var key openapi.APIKeyWithSecret
	if err := json.Unmarshal([]byte(in.types(line(t, first, "husk tenant api-key")+" -o json")), &key); err != nil {
		t.Fatal(err)
	}
	in.logIn(line(t, first, "husk login"), key.ClientID.String(), key.ClientSecret)
	in.types(line(t, first, "husk run"))
	in.types(line(t, first, "husk service create"))
	in.types(line(t, first, "husk address create"))
	stack.Eventually(t, time.Minute, func() error {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.Replace(line(t, first, "curl"), "curl", "curl -sS --max-time 5", 1)) //nolint:gosec // the documentation's
		cmd.Env = in.env
		out, err := cmd.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "nginx") {
			err = errors.New("the page is wrong")
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		t.Logf("the pod answers through the service with %d bytes", len(out))
		return nil
	})
	var err error
	if in.tenant, err = client.New(in.api, client.WithAPIKey(key.ClientID.String(), key.ClientSecret)); err != nil {
		t.Fatal(err)
	}
	if in.pod, err = in.tenant.Pods.Find(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	in.page = "http://" + strings.TrimSpace(in.types("husk address web -o jsonpath={.status.address}")) + "/"
	in.types("husk version --server")
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
