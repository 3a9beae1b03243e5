// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/dev/devtest"
	"husk/store"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// northbound is a real northbound database of a test.
type northbound struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

func program(name string) string { return filepath.Join("..", "..", "build", "ovn", "bin", name) }

func startNorthbound(t *testing.T) *northbound {
	t.Helper()
	n := &northbound{t: t, dir: t.TempDir()}
	schema := filepath.Join("..", "..", "build", "ovn", "share", "ovn-nb.ovsschema")
	if out, err := exec.CommandContext(t.Context(), program("ovsdb-tool"), "create", n.file("nb.db"), schema).CombinedOutput(); err != nil {
		t.Fatalf("create the database: %v\n%s", err, out)
	}
	n.start()
	t.Cleanup(n.stop)
	n.ctl("init")
	return n
}

func (n *northbound) file(name string) string { return filepath.Join(n.dir, name) }

func (n *northbound) endpoint() string { return "unix:" + n.file("nb.sock") }

func (n *northbound) start() {
	n.t.Helper()
	n.cmd = exec.Command(program("ovsdb-server"), "--no-chdir", "--remote=punix:"+n.file("nb.sock"), "--unixctl="+n.file("nb.ctl"), n.file("nb.db"))
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	for range 200 {
		if c, err := net.Dial("unix", n.file("nb.sock")); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatal("the northbound database does not start")
}

func (n *northbound) stop() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	_ = os.Remove(n.file("nb.sock"))
}

// ctl runs ovn-nbctl.
func (n *northbound) ctl(args ...string) string {
	n.t.Helper()
	args = append([]string{"--db=" + n.endpoint(), "--timeout=10", "--no-leader-only"}, args...)
	out, err := exec.CommandContext(n.t.Context(), program("ovn-nbctl"), args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("ovn-nbctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// content is everything in the database, without what changes from one creation to the next.
func (n *northbound) content() string {
	n.t.Helper()
	var all strings.Builder
	for table, columns := range map[string]string{
		"Logical_Switch": "name,other_config,external_ids", "Logical_Switch_Port": "name,type,addresses,port_security,options,external_ids",
		"Logical_Router": "name,options,external_ids", "Logical_Router_Port": "name,mac,networks,external_ids", "Logical_Router_Static_Route": "ip_prefix,nexthop,output_port,external_ids",
		"Logical_Router_Policy": "priority,match,action,external_ids", "NAT": "type,external_ip,logical_ip,external_ids", "ACL": "direction,priority,match,action,external_ids",
		"QoS": "direction,match,bandwidth,external_ids", "HA_Chassis_Group": "name,external_ids", "HA_Chassis": "chassis_name,priority,external_ids",
	} {
		for line := range strings.Lines(n.ctl("--format=csv", "--no-headings", "--columns="+columns, "list", table)) {
			fmt.Fprintf(&all, "%s %s\n", table, strings.TrimSpace(line))
		}
	}
	lines := strings.Split(strings.TrimSpace(all.String()), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// fixture is an installation with Postgres and a northbound database.
type fixture struct {
	store.Control
	t     *testing.T
	db    *store.Store
	nb    *northbound
	r     *Reconciler
	epoch int64
	count int
}

func open(t *testing.T) *fixture {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	s, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(s.Close)
	f := &fixture{Control: s.Control(), t: t, db: s, nb: startNorthbound(t), epoch: 1}
	f.r = f.reconciler(f.nb)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) reconciler(nb *northbound) *Reconciler {
	r := New(Config{
		Northbound: []string{nb.endpoint()},
		Provider: &Provider{
			Name: "provider", Gateway: netip.MustParsePrefix("203.0.113.1/24"), First: netip.MustParseAddr("203.0.113.10"), Last: netip.MustParseAddr("203.0.113.20"),
		},
		Egress: Egress{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/32")}}, Limits: Limits{BytesPerSecond: 1 << 20, Connections: 1000, TenantConnections: 10000},
	}, f.Topology(), slog.New(slog.DiscardHandler))
	f.t.Cleanup(r.Close)
	return r
}

// reconcile runs passes until there is nothing to do.
func (f *fixture) reconcile(r *Reconciler) {
	f.t.Helper()
	for range 50 {
		more, err := r.Pass(f.t.Context(), f.epoch)
		must(f.t, err)
		if !more {
			return
		}
	}
	f.t.Fatal("the reconciler does not come to an end")
}

func once() store.Idempotency { return store.NewIdempotency("", "test", "/v1/test", nil) }

// tenant is a tenant that can have pods.
type tenant struct {
	f     *fixture
	id    store.ID
	store store.Tenant
	image husk.Image
}

func (f *fixture) tenant() *tenant {
	f.t.Helper()
	f.count++
	t, err := f.CreateTenant(f.t.Context(), once(), fmt.Sprintf("tenant-%d", f.count), husk.DefaultQuota)
	must(f.t, err)
	key, err := f.CreateTenantKey(f.t.Context(), t.ID, once(), "owner", store.KeyRequest{Name: "test"})
	must(f.t, err)
	caller, err := f.Authenticate(f.t.Context(), key.ClientID, key.Secret)
	must(f.t, err)
	tn := &tenant{f, t.ID, f.db.Tenant(caller), husk.Image{}}
	tn.image, err = tn.store.CreateImage(f.t.Context(), once(), "registry.example.com/web:1", "sha256:web", husk.ImageConfig{Cmd: []string{"true"}}, nil)
	must(f.t, err)
	must(f.t, f.ImageMade(f.t.Context(), tn.image, 1<<20, false, "abc", nil))
	return tn
}

// node adds a node that is Ready.
func (f *fixture) node(gateway bool) store.ID {
	f.t.Helper()
	f.count++
	token, err := f.CreateJoinToken(f.t.Context(), once(), time.Hour, nil)
	must(f.t, err)
	id, _, err := f.RegisterNode(f.t.Context(), token.Secret, fmt.Sprintf("node-%d", f.count), func(store.ID) (store.IssuedCertificate, error) {
		return store.IssuedCertificate{Serial: uuid.NewString(), PEM: "PEM", ExpiresAt: time.Now().Add(time.Hour)}, nil
	})
	must(f.t, err)
	n := husk.Node{ID: id, Capacity: husk.Resources{CPUMillis: 100000, MemoryMiB: 100000}, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443", Capabilities: husk.AgentCapabilities}
	if gateway {
		n.Capabilities = append(n.Capabilities, husk.CapabilityGateway)
	}
	_, _, err = f.Heartbeat(f.t.Context(), store.Beat{Node: n})
	must(f.t, err)
	return id
}

// pod creates a pod and places it.
func (tn *tenant) pod(node store.ID) husk.Pod {
	t := tn.f.t
	t.Helper()
	tn.f.count++
	p, err := tn.store.CreatePod(t.Context(), once(), fmt.Sprintf("pod-%d", tn.f.count), map[string]string{}, nil, husk.PodSpec{
		Containers: []husk.Container{{Name: "main", Image: tn.image.Reference}}, Resources: husk.Resources{CPUMillis: 100, MemoryMiB: 100}, RestartPolicy: husk.RestartAlways,
	})
	must(t, err)
	capacities, err := tn.f.NodeCapacities(t.Context())
	must(t, err)
	for _, c := range capacities {
		if c.ID != node {
			continue
		}
		placed, err := tn.f.CommitPlacements(t.Context(), 0, []store.Placement{{Pod: store.PodKey{TenantID: tn.id, ID: p.ID}, Node: node, NodeVersion: c.Version}})
		if err != nil || len(placed) != 1 {
			t.Fatalf("%d pods are placed: %v", len(placed), err)
		}
		return p
	}
	t.Fatalf("there is no node %s", node)
	return p
}

// remove deletes a pod, and reports it as gone.
func (tn *tenant) remove(p husk.Pod, node store.ID) {
	t := tn.f.t
	t.Helper()
	_, err := tn.store.DeletePod(t.Context(), p.ID)
	must(t, err)
	must(t, tn.f.Report(t.Context(), node, []husk.PodReport{{PodID: p.ID, Placement: 1, Generation: 100, Event: husk.EventGone}}))
	if _, err := tn.store.Pod(t.Context(), p.ID); husk.CodeOf(err) != husk.CodeNotFound {
		t.Fatalf("the pod is still there: %v", err)
	}
}

// TestADatabaseBecomesWhatPostgresSays changes networks in many ways. Whatever happens, the small steps lead to what a comparison of everything makes
// of an empty database.
func TestADatabaseBecomesWhatPostgresSays(t *testing.T) {
	t.Parallel()
	f := open(t)
	a, b := f.tenant(), f.tenant()
	f.reconcile(f.r)
	n1, n2 := f.node(true), f.node(false)
	var pods []husk.Pod
	check := func(after string) {
		t.Helper()
		f.reconcile(f.r)
		got := f.nb.content()
		whole := startNorthbound(t)
		r := f.reconciler(whole)
		f.reconcile(r)
		if want := whole.content(); got != want {
			t.Fatalf("after %s, the database has\n%s\nwant\n%s", after, got, want)
		}
		for _, p := range pods {
			if !strings.Contains(got, husk.PortName(p.ID, 0)) {
				t.Errorf("after %s, there is no port for pod %s", after, p.Name)
			}
		}
	}
	check("the first comparison")
	pods = append(pods, a.pod(n1), a.pod(n2), b.pod(n1))
	check("three placements")
	if got := f.nb.ctl("get", "Logical_Switch_Port", husk.PortName(pods[1].ID, 0), "options:requested-chassis"); !strings.Contains(got, n2.String()) {
		t.Errorf("the port is bound to %s, want node %s", got, n2)
	}
	f.node(true)
	check("another gateway")
	a.remove(pods[0], n1)
	pods = pods[1:]
	check("the end of a pod")
	c := f.tenant()
	pods = append(pods, c.pod(n2))
	check("another tenant")
	empty, err := f.CreateTenant(t.Context(), once(), "empty", husk.DefaultQuota)
	must(t, err)
	check("a tenant without pods")
	must(t, f.DeleteTenant(t.Context(), empty.ID))
	check("the end of a tenant")
	if strings.Contains(f.nb.content(), empty.ID.String()) {
		t.Error("something of a tenant is left that is gone")
	}
}

// TestAnotherProviderRangeReplacesAddresses restarts the server with another range of the provider network.
func TestAnotherProviderRangeReplacesAddresses(t *testing.T) {
	t.Parallel()
	f := open(t)
	a := f.tenant()
	a.pod(f.node(true))
	f.reconcile(f.r)
	if got := f.nb.ctl("--bare", "--columns=external_ip", "find", "NAT", "type=snat"); got != "203.0.113.10" {
		t.Errorf("the outer address is %q, want the first one", got)
	}
	f.r.Close()
	f.r = f.reconciler(f.nb)
	f.r.cfg.Provider.First, f.r.cfg.Provider.Last = netip.MustParseAddr("203.0.113.100"), netip.MustParseAddr("203.0.113.120")
	f.reconcile(f.r)
	if got := f.nb.ctl("--bare", "--columns=external_ip", "find", "NAT", "type=snat"); got != "203.0.113.100" {
		t.Errorf("with another range, the outer address is %q, want the first one of that", got)
	}
}

// TestWhatIsNotOursStays compares a database into which others have written, and from which rows are missing.
func TestWhatIsNotOursStays(t *testing.T) {
	t.Parallel()
	f := open(t)
	a := f.tenant()
	p := a.pod(f.node(true))
	f.reconcile(f.r)
	want := f.nb.content()
	f.nb.ctl("ls-add", "theirs", "--", "lsp-add", "theirs", "their-port")
	f.nb.ctl("lsp-del", husk.PortName(p.ID, 0))
	network := f.nb.ctl("--bare", "--columns=name", "find", "Logical_Switch", "name!=theirs", "name!="+providerSwitch)
	f.nb.ctl("acl-del", network)
	f.nb.ctl("acl-add", network, "from-lport", "1", "ip4", "allow")
	f.nb.ctl("ls-add", "husk-stray", "--", "set", "Logical_Switch", "husk-stray", "external_ids:husk=stray", "external_ids:husk-owner="+uuid.NewString())
	var got string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the reconciler hears of what others write a moment later
		f.r.compared = time.Time{}
		f.reconcile(f.r)
		got = f.nb.content()
		if !strings.Contains(got, "husk-stray") && strings.Contains(got, husk.PortName(p.ID, 0)) || time.Now().After(deadline) {
			break
		}
	}
	for _, theirs := range []string{"theirs", "their-port", "from-lport,1,ip4,allow"} {
		if !strings.Contains(got, theirs) {
			t.Errorf("%s is gone", theirs)
		}
	}
	if strings.Contains(got, "husk-stray") {
		t.Error("the switch of a tenant that does not exist is still there")
	}
	for line := range strings.Lines(want) {
		if !strings.Contains(got, strings.TrimSpace(line)) {
			t.Errorf("this is missing: %s", line)
		}
	}
}

// TestADatabaseThatDiesIsReconnected kills the database and replaces it by an empty one.
func TestADatabaseThatDiesIsReconnected(t *testing.T) {
	t.Parallel()
	f := open(t)
	a := f.tenant()
	node := f.node(false)
	a.pod(node)
	f.reconcile(f.r)
	want := f.nb.content()
	f.nb.stop()
	must(t, os.Remove(f.nb.file("nb.db")))
	a.pod(node)
	if _, err := f.r.Pass(t.Context(), f.epoch); err == nil {
		t.Error("a pass without a database has no error")
	}
	schema := filepath.Join("..", "..", "build", "ovn", "share", "ovn-nb.ovsschema")
	if out, err := exec.CommandContext(t.Context(), program("ovsdb-tool"), "create", f.nb.file("nb.db"), schema).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f.nb.start()
	f.nb.ctl("init")
	f.reconcile(f.r)
	got := f.nb.content()
	for line := range strings.Lines(want) {
		if !strings.Contains(got, strings.TrimSpace(line)) {
			t.Errorf("this is missing: %s", line)
		}
	}
}

// TestChangesDoNotPileUpWithoutOVN runs a server without a northbound database.
func TestChangesDoNotPileUpWithoutOVN(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.tenant().pod(f.node(false))
	f.r = New(Config{}, f.Topology(), slog.New(slog.DiscardHandler))
	f.reconcile(f.r)
	left, err := f.Topology().Changes(t.Context(), 10)
	if err != nil || len(left) > 0 {
		t.Errorf("%d changes are left: %v", len(left), err)
	}
}

// TestARestoredDatabaseIsFollowed lets a server with another database take over, which counts its epochs from the beginning.
func TestARestoredDatabaseIsFollowed(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.epoch = 7
	f.reconcile(f.r)
	f.nb.ctl("set", "NB_Global", ".", "external_ids:husk-incarnation=another/16384/1")
	f.epoch = 2
	p := f.tenant().pod(f.node(false))
	f.r = f.reconciler(f.nb)
	f.reconcile(f.r)
	if !strings.Contains(f.nb.content(), husk.PortName(p.ID, 0)) {
		t.Error("a server with a restored database does not write")
	}
}

// TestAnEarlierLeaderDoesNotWrite lets a server continue that has lost the lead.
func TestAnEarlierLeaderDoesNotWrite(t *testing.T) {
	t.Parallel()
	f := open(t)
	a := f.tenant()
	node := f.node(false)
	f.reconcile(f.r)
	before := f.r
	f.epoch = 2
	f.r = f.reconciler(f.nb)
	f.reconcile(f.r)
	p := a.pod(node)
	if _, err := before.Pass(t.Context(), 1); err == nil && strings.Contains(f.nb.content(), husk.PortName(p.ID, 0)) {
		t.Error("a server that does not lead any more has written")
	}
	f.reconcile(f.r)
	if !strings.Contains(f.nb.content(), husk.PortName(p.ID, 0)) {
		t.Error("the leader has not written")
	}
}
