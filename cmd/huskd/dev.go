// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"husk"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/client"
	"husk/dev"
	"husk/dev/control"
	"husk/nodeagent"
	agentnetwork "husk/nodeagent/network"
	"husk/openapi"
	"husk/server"
	"husk/server/network"
)

type devFlags struct {
	stateDir, envFile, api, apiForAgents, agentListen, kernel, initramfs, podRange string
	postgresPort, cephMonPort, registryPort, southboundPort                        int
	cpuOvercommit                                                                  float64
	reserveMemoryMiB                                                               int
	noAgent, detach                                                                bool
	terms                                                                          server.LeaseTerms
	nodes, servers, databases, centrals, simulatedNodes                            int
	fabric, overlay, providerRange, ovn                                            string
	ingressRange, ingressHTTP, ingressHTTPS, acmeDirectory, acmeCA                 string
}

func devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: Postgres, Ceph, libvirt, OVN, a registry, the server and an agent",
		Long: `Run everything on this machine: Postgres, a single-node Ceph, libvirt, OVN with Open vSwitch, an OCI registry, the server and an agent,
as children of this process, with all data in one state directory. A later start continues with this data. SIGTERM stops everything.

With --nodes, --servers, --databases or --centrals, it starts a fleet instead: each node, server, database and central host is a host of its own, in
namespaces for its network, mounts and processes, and a bridge connects them. Nodes have names such as n1, and servers names such as s1. Nothing in the fleet reaches other
networks. "huskd dev node" kills, freezes and cuts off nodes.

Pods are emulated if KVM is not available. That is only for development: emulation is not a security boundary.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.detach {
				return detachDev(cmd.Context(), f)
			}
			return runDev(cmd.Context(), f)
		},
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "stop", Short: "Stop the installation in the state directory and wait until it has stopped", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return stopRunningDev(cmd.Context(), f) },
		},
		&cobra.Command{
			Use: "clean", Short: "Stop the installation, remove the state directory, and clean up after a killed run", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return cleanDev(cmd.Context(), f) },
		},
		nodeCommand(&f),
	)
	cmd.PersistentFlags().StringVar(&f.stateDir, "state-dir", "/var/lib/husk-dev", "directory of all data")
	cmd.PersistentFlags().StringVar(&f.ovn, "ovn", "build/ovn", "directory with the programs of Open vSwitch and OVN in bin and their schemas in share, as deps.sh makes it; empty: those of the system")
	fs := cmd.Flags()
	fs.StringVar(&f.envFile, "env-file", "build/dev.env", "file to which the URL and the credentials are written, in shell syntax")
	fs.StringVar(&f.api, "listen", "127.0.0.1:8080", "address of the API")
	fs.StringVar(&f.apiForAgents, "listen-for-agents", "127.0.0.1:8443", "address at which the agent calls the server")
	fs.StringVar(&f.agentListen, "agent-listen", "127.0.0.1:7443", "address of the agent")
	fs.StringVar(&f.kernel, "kernel", "build/vmlinuz", "kernel of the pods")
	fs.StringVar(&f.initramfs, "initramfs", "build/initramfs.cpio", "initramfs with husk-init")
	fs.StringVar(&f.podRange, "pod-range", defaultPodRange, "IPv4 range of tenants' networks")
	fs.IntVar(&f.postgresPort, "postgres-port", 15432, "port of Postgres")
	fs.IntVar(&f.cephMonPort, "ceph-mon-port", 16789, "port of Ceph's monitor")
	fs.IntVar(&f.registryPort, "registry-port", 15000, "port of the registry")
	fs.IntVar(&f.southboundPort, "southbound-port", 16642, "port of OVN's southbound database, which nodes read")
	fs.Float64Var(&f.cpuOvercommit, "cpu-overcommit", 4, "how many times each core may be allocated")
	fs.IntVar(&f.reserveMemoryMiB, "reserve-memory-mib", 4096, "memory reserved for everything except pods, in MiB")
	fs.IntVar(&f.nodes, "nodes", 1, "number of nodes; with 1, this machine is the node")
	fs.IntVar(&f.servers, "servers", 1, "number of servers of a fleet")
	fs.IntVar(&f.databases, "databases", 1, "number of databases of a fleet: with more than one, Patroni runs a primary and standbys, which needs the packages patroni, python3-etcd and etcd-server")
	fs.IntVar(&f.centrals, "centrals", 1, "number of central hosts of a fleet: with 3 or 5, each has a member of OVN's databases and a northd")
	fs.IntVar(&f.simulatedNodes, "simulated-nodes", 0, "number of nodes to add whose agents only simulate pods, to see how the servers carry a large fleet")
	fs.StringVar(&f.fabric, "fabric", "10.213.77.0/24", "IPv4 range of the network between the hosts of a fleet")
	fs.StringVar(&f.overlay, "overlay", "10.213.78.0/24", "IPv4 range of the tunnels between the nodes of a fleet")
	fs.StringVar(&f.providerRange, "provider-range", "10.213.80.0/20", "IPv4 range of the network outside of tenants' networks, which has the outer addresses of their routers; this machine is its gateway")
	fs.StringVar(&f.ingressRange, "ingress-range", network.DefaultIngressRange.String(), "IPv4 range of the addresses at which the ingress process reaches services")
	fs.StringVar(&f.ingressHTTP, "ingress-http", "127.0.0.1:8180", "address at which the ingress process accepts plain HTTP")
	fs.StringVar(&f.ingressHTTPS, "ingress-https", "127.0.0.1:8543", "address at which the ingress process accepts HTTPS, with certificates that no browser trusts; empty: no ingress process")
	fs.StringVar(&f.acmeDirectory, "acme-directory", "", "directory URL of a certificate authority that issues the certificates instead")
	fs.StringVar(&f.acmeCA, "acme-ca", "", "file with the certificate of the authority's own server, unless the system trusts it")
	fs.BoolVar(&f.noAgent, "no-agent", false, "start no agent")
	fs.BoolVar(&f.detach, "detach", false, "run in the background, and return once everything is up, also if another process has started it")
	leaseFlags(fs, &f.terms)
	return cmd
}

// devSecrets are created at the first start and kept.
type devSecrets struct{ masterKeyFile, ingressKeyFile, operatorID, operatorSecretFile, operatorSecret string }

func runDev(ctx context.Context, f devFlags) (err error) {
	began := time.Now()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, p := range []*string{&f.envFile, &f.kernel, &f.initramfs} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	cfg := dev.Config{
		StateDir: f.stateDir, Parts: dev.Default | dev.Registry, PostgresPort: f.postgresPort, CephMonPort: f.cephMonPort, RegistryPort: f.registryPort,
		SouthboundPort: f.southboundPort, OVNDir: f.ovn, AwaitTLS: true, Progress: dev.Lines(os.Stderr),
	}
	if err := f.configureNetworks(&cfg); err != nil {
		return err
	}
	if f.noAgent {
		cfg.Parts &^= dev.OVS
	}
	if f.isFleet() {
		if err := f.configureFleet(&cfg); err != nil {
			return err
		}
	}
	stack, err := dev.Start(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopDev(stack, f)) }()
	stopControl, err := control.Serve(stack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopControl()) }()
	secrets, err := makeSecrets(stack.StateDir())
	if err != nil {
		return err
	}
	operator, err := operatorClient(f, secrets)
	if err != nil {
		return err
	}
	start := startNode
	if f.isFleet() {
		start = startFleet
	}
	in := installation{self, stack, f, secrets, operator}
	if err := start(ctx, in); err != nil {
		return err
	}
	if f.hasIngress() {
		if err := stack.Run(ctx, in.ingress()); err != nil {
			return err
		}
	}
	stopSimulated, err := in.simulate(ctx)
	if err != nil {
		return err
	}
	defer stopSimulated()
	key, err := demoTenant(ctx, stack.StateDir(), operator)
	if err != nil {
		return fmt.Errorf("create the demo tenant: %w", err)
	}
	if err := writeDevEnv(f, stack, secrets, key); err != nil {
		return err
	}
	if err := stack.SetUp(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "husk is up after %.1f s: http://%s, settings in %s\n", time.Since(began).Seconds(), f.api, f.envFile)
	<-ctx.Done()
	return nil
}

// installation is what the programs of an installation have in common.
type installation struct {
	self     string // path of this program
	stack    *dev.Stack
	flags    devFlags
	secrets  devSecrets
	operator *client.Client
}

// startNode runs a server and an agent on this machine.
func startNode(ctx context.Context, in installation) error {
	if err := in.stack.Run(ctx, in.server(in.flags.api, in.flags.apiForAgents, in.stack.StateDir())); err != nil {
		return err
	}
	if in.flags.noAgent {
		return nil
	}
	if err := in.secureSouthbound(ctx); err != nil {
		return err
	}
	program, err := in.agent(ctx, agentDir(in.stack), "https://"+in.flags.apiForAgents, in.flags.agentListen,
		"--reserve-memory-mib", fmt.Sprint(in.flags.reserveMemoryMiB), "--libvirt-uri", in.stack.LibvirtURI(), "--ovsdb", "unix:"+in.stack.OVS())
	if err != nil {
		return err
	}
	return in.stack.Run(ctx, program)
}

// stopGrace is how long everything may take to stop. It includes the pods' own grace period.
const stopGrace = 2 * time.Minute

func stopDev(stack *dev.Stack, f devFlags) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	err := stack.Stop(ctx)
	if !f.noAgent && !f.isFleet() {
		err = errors.Join(err, agentnetwork.Clear())
	}
	if e := os.Remove(f.envFile); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// makeSecrets creates the installation's secrets, or reads those of an earlier start.
func makeSecrets(dir string) (devSecrets, error) {
	s := devSecrets{masterKeyFile: filepath.Join(dir, "master.key"), ingressKeyFile: filepath.Join(dir, "ingress.key"), operatorSecretFile: filepath.Join(dir, "operator.secret")}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return s, err
	}
	_, err1 := keptFile(s.masterKeyFile, hex.EncodeToString(key))
	if _, err := rand.Read(key); err != nil {
		return s, err
	}
	_, err4 := keptFile(s.ingressKeyFile, hex.EncodeToString(key))
	secret, err2 := keptFile(s.operatorSecretFile, rand.Text()+rand.Text())
	id, err3 := keptFile(filepath.Join(dir, "operator.id"), uuid.NewString())
	s.operatorSecret, s.operatorID = secret, id
	return s, errors.Join(err1, err2, err3, err4)
}

// keptFile returns the content of the file. If the file does not exist, it first writes the
// fallback into it.
func keptFile(name, fallback string) (string, error) {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(name+".new", []byte(fallback+"\n"), 0o600); err != nil {
			return "", err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return "", err
		}
	}
	return readSecret(name)
}

// server returns a server that listens at these addresses.
func (in installation) server(api, forAgents, workDir string) dev.Program {
	f, s := in.flags, in.secrets
	p := dev.Program{
		Name: "server", Path: in.self, Grace: 15 * time.Second, Timeout: time.Minute,
		Args: []string{
			"server", "--listen", api, "--agent-listen", forAgents, "--master-key-file", s.masterKeyFile, "--operator-client-id", s.operatorID,
			"--operator-secret-file", s.operatorSecretFile, "--ceph-conf", in.stack.CephConf(), "--ceph-keyring", in.stack.CephKeyring(),
			"--ceph-user", dev.CephUser, "--ceph-monitors", strings.Join(in.stack.MonHosts(), ","), "--pod-range", f.podRange, "--issuer", "http://" + f.api,
			"--work-dir", workDir, "--lease", f.terms.Lease.String(), "--heartbeat", f.terms.Heartbeat.String(),
			"--lease-margin", f.terms.Margin.String(), "--failover-brake", fmt.Sprint(f.terms.Brake),
			"--allow-egress", "127.0.0.0/8,::1/128", // the local registry
			"--ovn-northbound", in.stack.NorthboundAdmin(), "--provider-gateway", in.stack.ProviderGateway().String(), "--provider-addresses", in.stack.ProviderAddresses(), "--floating-addresses", in.stack.FloatingAddresses(),
		},
		Env:   []string{"HUSKD_DATABASE_URL=" + in.stack.PostgresURL("husk_owner")}, // a password must not be an argument, because every user can read arguments
		Ready: func(ctx context.Context) error { return ready(ctx, "http://"+api+"/readyz") },
	}
	if f.hasIngress() {
		p.Args = append(p.Args, "--ingress-nodes", in.stack.ProviderGateway().Addr().String(), "--ingress-range", f.ingressRange, "--ingress-addresses", f.ingressHTTPS)
	}
	if f.simulatedNodes > 0 {
		p.Args = append(p.Args, "--logins-per-second", "1000") // all nodes join from one address
	}
	return p
}

// hasIngress reports whether there is an ingress process. It reaches services through Open vSwitch.
func (f devFlags) hasIngress() bool { return f.ingressHTTPS != "" && !f.noAgent }

// ingress returns the ingress process. Its certificates come from an authority of its own, unless there is another one.
func (in installation) ingress() dev.Program {
	_, port, _ := net.SplitHostPort(in.flags.ingressHTTPS)
	authority := []string{"--internal-authority"}
	if in.flags.acmeDirectory != "" {
		authority = []string{"--acme-directory", in.flags.acmeDirectory, "--acme-ca", in.flags.acmeCA}
	}
	return dev.Program{
		Name: "ingress", Path: in.self, Grace: 15 * time.Second, Timeout: time.Minute,
		Args: append([]string{
			"ingress", "--key-file", in.secrets.ingressKeyFile, "--listen-http", in.flags.ingressHTTP, "--listen-https", in.flags.ingressHTTPS,
			"--public-https-port", port,
		}, authority...),
		Env: []string{"HUSKD_DATABASE_URL=" + in.stack.PostgresURL("husk_ingress")},
		Ready: func(ctx context.Context) error {
			c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", in.flags.ingressHTTPS)
			if err == nil {
				err = c.Close()
			}
			return err
		},
	}
}

func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s responds %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

func operatorClient(f devFlags, s devSecrets) (*client.Client, error) {
	return client.New("http://"+f.api, client.WithAPIKey(s.operatorID, s.operatorSecret))
}

func agentDir(stack *dev.Stack) string { return filepath.Join(stack.StateDir(), "agent") }

// agent returns an agent with this state directory. The caller adds the arguments that differ between this machine and hosts.
func (in installation) agent(ctx context.Context, dir, server, listen string, args ...string) (dev.Program, error) {
	f, began := in.flags, time.Now()
	p := dev.Program{
		Name: "agent", Path: in.self, Grace: time.Minute, Timeout: time.Minute,
		Args: append([]string{
			"agent", "--server", server, "--state-dir", dir, "--listen", listen, "--kernel", f.kernel, "--initramfs", f.initramfs,
			"--ovn-southbound", in.stack.SouthboundRemote(), "--provider-bridge", dev.ProviderBridge, "--allow-emulation", "--stop-pods-on-exit",
			"--scratch-gib", "4096", // more than the machine has: pods of a development stack write little
			"--cpu-millis", fmt.Sprint(int(float64(runtime.NumCPU()) * 1000 * f.cpuOvercommit / float64(f.nodes))),
		}, args...),
		Ready: func(ctx context.Context) error { return nodeReady(ctx, in.operator, dir, began) },
	}
	// A token is needed at the first start, and if the certificate expired while nothing was
	// running.
	if needed, node := nodeagent.NeedsToken(dir); needed {
		token, err := in.operator.Nodes.CreateJoinToken(ctx, openapi.JoinTokenCreate{NodeID: node})
		if err != nil {
			return p, fmt.Errorf("create a join token: %w", err)
		}
		p.Env = []string{"HUSKD_JOIN_TOKEN=" + token.Token}
	}
	return p, nil
}

// nodeReady returns an error until the node with this state directory has sent a heartbeat after the given time.
func nodeReady(ctx context.Context, operator *client.Client, dir string, since time.Time) error {
	needed, id := nodeagent.NeedsToken(dir)
	if needed {
		return errors.New("the node has not joined")
	}
	nodes, err := operator.Nodes.List(ctx)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes {
		if n.ID == *id && n.State == openapi.NodeStateReady && n.HeartbeatAt != nil && n.HeartbeatAt.After(since) {
			return nil
		}
	}
	return fmt.Errorf("node %s is not ready", id)
}

type apiKey struct{ id, secret string }

const demoTenantName = "demo"

// demoTenant creates the demo tenant and a key, or reads the key of an earlier start.
func demoTenant(ctx context.Context, dir string, operator *client.Client) (apiKey, error) {
	file := filepath.Join(dir, "demo.key")
	if raw, err := readSecret(file); err == nil {
		id, secret, _ := strings.Cut(raw, " ")
		return apiKey{id, secret}, nil
	}
	limit := func(n int) *int { return &n }
	quota := openapi.QuotaChange{Pods: limit(50), CPUMillis: limit(32_000), MemoryMiB: limit(32_768), Volumes: limit(50), VolumeGiB: limit(200), Images: limit(50)}
	tenant, err := operator.Tenants.Create(ctx, openapi.TenantCreate{Name: demoTenantName, Quota: &quota})
	if client.HasCode(err, husk.CodeNameTaken) { // an earlier start was interrupted before it had the key
		tenant, err = operator.Tenants.Find(ctx, demoTenantName)
	}
	if err != nil {
		return apiKey{}, err
	}
	key, err := operator.Tenants.CreateKey(ctx, tenant.ID, openapi.TenantKeyCreate{Name: "dev"})
	if err != nil {
		return apiKey{}, err
	}
	k := apiKey{key.ClientID.String(), key.ClientSecret}
	_, err = keptFile(file, k.id+" "+k.secret)
	return k, err
}

func writeDevEnv(f devFlags, stack *dev.Stack, s devSecrets, key apiKey) error {
	if err := os.MkdirAll(filepath.Dir(f.envFile), 0o755); err != nil { //nolint:gosec // a build directory
		return err
	}
	var b strings.Builder
	for _, v := range [][2]string{
		{"HUSK_API", "http://" + f.api},
		{"HUSK_CLIENT_ID", key.id},
		{"HUSK_CLIENT_SECRET", key.secret},
		{"HUSK_ADMIN_CLIENT_ID", s.operatorID},
		{"HUSK_ADMIN_CLIENT_SECRET", s.operatorSecret},
		{"HUSK_STATE_DIR", stack.StateDir()},
		{"HUSK_REGISTRY", stack.RegistryAddr()},
		{"HUSK_INGRESS", f.ingressHTTPS},
		{"HUSK_CEPH_CONF", stack.CephConf()},
		{"OVN_NB_DB", stack.NorthboundAdmin()}, // for ovn-nbctl and ovn-sbctl
		{"OVN_SB_DB", stack.SouthboundAdmin()},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], v[1])
	}
	part := f.envFile + ".new"
	if err := os.WriteFile(part, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(part, f.envFile)
}
