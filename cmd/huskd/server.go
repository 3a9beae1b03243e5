// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"husk/ceph"
	"husk/egress"
	"husk/ingress"
	"husk/scheduler"
	"husk/server"
	"husk/server/held"
	"husk/service"
	"husk/store"
	"husk/store/services"
)

// defaultPodRange is the first half of the shared address space of RFC 6598. It does not collide
// with the private ranges that networks usually use.
const defaultPodRange = "100.64.0.0/11"

type serverFlags struct {
	listen, agentListen, agentURL, southbound, databaseURL, masterKeyFile, issuer, podRange, operatorID, operatorSecretFile, serviceRange, namesSuffix string
	networkPrefix                                                                                                                                      int
	cephConf, cephUser, cephKeyring, imagesPool, volumesPool, workDir                                                                                  string
	cephMonitors, allowEgress, trustedProxies                                                                                                          []string
	signingKeyLife                                                                                                                                     time.Duration
	loginsPerSecond                                                                                                                                    float64
	held                                                                                                                                               held.Limits
	connectionsPerAddress, tenantStreamMiB, tenantTransferMiB, movesForWaitingPod                                                                      int
	priceList                                                                                                                                          string
	nodeCertificateLife, sessionIdle                                                                                                                   time.Duration
	terms                                                                                                                                              server.LeaseTerms
	network                                                                                                                                            networkFlags
}

func serverCommand() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve the API and, as the leader, run the control loops",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "database-url", "master-key-file", "ceph-keyring", "ceph-monitors"); err != nil {
				return err
			}
			return runServer(cmd, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address of the API")
	fs.StringVar(&f.agentListen, "agent-listen", "127.0.0.1:8443", "address of the API for agents, with mutual TLS and certificates of this installation's own authority")
	fs.StringVar(&f.databaseURL, "database-url", "", "URL of Postgres, postgres://:PASSWORD@HOST:PORT/NAME; the roles husk_owner, husk_control and husk_tenant share the password")
	fs.StringVar(&f.masterKeyFile, "master-key-file", "", "file with 64 hexadecimal digits: the key that protects the secrets in the database; previous keys may follow, one per line")
	fs.StringVar(&f.agentURL, "agent-url", "", "URL at which agents reach --agent-listen, for the command with which nodes join")
	fs.StringVar(&f.southbound, "node-southbound", "", "endpoints at which nodes reach OVN's southbound database, for the command with which nodes join")
	fs.StringVar(&f.issuer, "issuer", "husk", "issuer of tokens: the URL at which clients reach the servers, for clients that read the metadata; the same for all servers of an installation")
	fs.DurationVar(&f.signingKeyLife, "signing-key-life", 30*24*time.Hour, "how long a key signs tokens before it is rotated")
	fs.Float64Var(&f.loginsPerSecond, "logins-per-second", 20, "logins, and requests with an invalid token, per second and client address; the burst is five times as many")
	most := held.DefaultLimits
	fs.IntVar(&f.held.Requests, "tenant-requests", most.Requests, "requests that one tenant can have under way at this server")
	fs.IntVar(&f.held.Watches, "tenant-watches", most.Watches, "open watches of one tenant at this server")
	fs.IntVar(&f.held.Logs, "tenant-logs", most.Logs, "logs that one tenant can read from this server at the same time")
	fs.IntVar(&f.held.Sessions, "tenant-sessions", most.Sessions, "open exec sessions, attachments, consoles, port forwards and copies of one tenant at this server")
	fs.IntVar(&f.held.Transfers, "tenant-transfers", most.Transfers, "imports and exports of volumes of one tenant at this server at the same time")
	fs.IntVar(&f.tenantTransferMiB, "tenant-transfer-mib-per-second", 0,
		"MiB per second of all imports and exports of volumes of one tenant at this server together (default: 16 for each processor)")
	fs.IntVar(&f.tenantStreamMiB, "tenant-stream-mib-per-second", 0, "MiB per second of all watches, logs and sessions of one tenant at this server together (default: 4 for each processor)")
	fs.IntVar(&f.connectionsPerAddress, "connections-per-address", held.DefaultConnections, "open connections of one client address; those of --trusted-proxies are not limited")
	fs.StringSliceVar(&f.trustedProxies, "trusted-proxies", nil, "address ranges (CIDR) of proxies whose X-Forwarded-For header is trusted")
	fs.StringVar(&f.podRange, "pod-range", defaultPodRange, "IPv4 range of tenants' networks")
	fs.StringVar(&f.serviceRange, "service-range", services.Default.String(), "IPv4 range of the virtual addresses of services; every tenant uses the whole range")
	fs.StringVar(&f.namesSuffix, "names-suffix", service.DefaultSuffix, "end of the DNS names of pods and services")
	fs.IntVar(&f.networkPrefix, "network-prefix", 22, "prefix length of a tenant's network")
	fs.StringVar(&f.operatorID, "operator-client-id", "", "client id (a UUID) of the first operator, created unless it exists")
	fs.StringVar(&f.operatorSecretFile, "operator-secret-file", "", "file with the first operator's client secret")
	fs.StringSliceVar(&f.cephMonitors, "ceph-monitors", nil, "Ceph's monitors as host:port; nodes must be able to reach them there")
	fs.StringVar(&f.cephConf, "ceph-conf", "", "Ceph's configuration file, if one is needed")
	fs.StringVar(&f.cephUser, "ceph-user", "husk-server", "the server's Ceph user")
	fs.StringVar(&f.cephKeyring, "ceph-keyring", "", "keyring of that user")
	fs.StringVar(&f.imagesPool, "ceph-images-pool", "husk-images", "pool of imported images")
	fs.StringVar(&f.volumesPool, "ceph-volumes-pool", "husk-volumes", "pool of volumes and clones")
	fs.StringVar(&f.workDir, "work-dir", "", "directory for images during import (default: the system's temporary directory)")
	fs.StringSliceVar(&f.allowEgress, "allow-egress", nil, "address ranges (CIDR) outside of the public Internet in which registries and OIDC issuers are allowed, also over plain HTTP")
	fs.StringVar(&f.priceList, "price-list", "", "YAML file of prices, to report the cost of usage: currency, cpuCoreHour, memoryGiBHour, volumeGiBHour, scratchGiBHour, networkGiB, outsideGiB")
	leaseFlags(fs, &f.terms)
	f.network.register(fs)
	fs.IntVar(&f.movesForWaitingPod, "moves-for-waiting-pod", scheduler.MovesForPod,
		"how many running pods may move to other nodes, with their memory, so that one waiting pod fits; 0 moves none")
	fs.DurationVar(&f.sessionIdle, "session-idle", time.Hour, "how long an exec session, attach or port forward may be idle")
	fs.DurationVar(&f.nodeCertificateLife, "node-certificate-life", 30*24*time.Hour, "validity of a node's certificate; agents renew it after two thirds of this time")
	return cmd
}

// leaseFlags are the flags of how long nodes count as alive. Server and dev have them.
func leaseFlags(fs *pflag.FlagSet, terms *server.LeaseTerms) {
	fs.DurationVar(&terms.Heartbeat, "heartbeat", 5*time.Second, "how often a node sends a heartbeat")
	fs.DurationVar(&terms.Lease, "lease", 30*time.Second, "how long a node counts as alive after a heartbeat; then it ends machines that write volumes")
	fs.DurationVar(&terms.Margin, "lease-margin", 5*time.Second, "how much later a node counts as lost and its pods are moved")
	fs.Float64Var(&terms.Brake, "failover-brake", 0.5, "share of nodes that may be silent at once; if more are, no pods are moved")
}

func runServer(cmd *cobra.Command, f serverFlags) error {
	ctx := cmd.Context()
	log, err := logger(cmd, "server")
	if err != nil {
		return err
	}
	masters, err := masterKeys(f.masterKeyFile)
	if err != nil {
		return err
	}
	proxies := make([]netip.Prefix, len(f.trustedProxies))
	for i, p := range f.trustedProxies {
		if proxies[i], err = netip.ParsePrefix(p); err != nil {
			return fmt.Errorf("--trusted-proxies: %w", err)
		}
	}
	prices, err := readPrices(f.priceList)
	if err != nil {
		return err
	}
	podRange, err := netip.ParsePrefix(f.podRange)
	if err != nil {
		return fmt.Errorf("--pod-range: %w", err)
	}
	serviceRange, err := netip.ParsePrefix(f.serviceRange)
	if err != nil {
		return fmt.Errorf("--service-range: %w", err)
	}
	if err := service.CheckSuffix(f.namesSuffix); err != nil {
		return fmt.Errorf("--names-suffix: %w", err)
	}
	policy, err := egress.Parse(f.allowEgress)
	if err != nil {
		return fmt.Errorf("--allow-egress: %w", err)
	}
	if f.movesForWaitingPod < 0 {
		return fmt.Errorf("--moves-for-waiting-pod: %d is negative; 0 moves no pods", f.movesForWaitingPod)
	}
	if f.held.Requests < 1 || f.held.Watches < 1 || f.held.Logs < 1 || f.held.Sessions < 1 || f.held.Transfers < 1 || f.tenantStreamMiB < 0 || f.tenantTransferMiB < 0 || f.connectionsPerAddress < 1 {
		return errors.New("--tenant-requests, --tenant-watches, --tenant-logs, --tenant-sessions, --tenant-transfers and --connections-per-address must be at least 1, and --tenant-stream-mib-per-second and --tenant-transfer-mib-per-second at least 0")
	}
	f.held.StreamBytesPerSecond, f.held.TransferBytesPerSecond = f.tenantStreamMiB<<20, f.tenantTransferMiB<<20
	networks, err := f.network.config()
	if err != nil {
		return err
	}
	if i := networks.Ingress; i != nil {
		if err := i.Check(podRange, serviceRange, networks.Provider.Gateway.Masked()); err != nil {
			return err
		}
	}
	// Listening comes first: an address in use is the most common mistake, and should be reported
	// before the server waits for the database.
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close() //nolint:errcheck // Shutdown has already closed it
	agentListener, err := net.Listen("tcp", f.agentListen)
	if err != nil {
		return fmt.Errorf("--agent-listen: %w", err)
	}
	defer agentListener.Close() //nolint:errcheck // Shutdown has already closed it
	st, err := store.Open(ctx, store.Config{
		URL: f.databaseURL, MasterKeys: masters, PodRange: podRange, NetworkPrefix: f.networkPrefix, ServiceRange: serviceRange, Reserved: networks.Reserved(),
		FloatingRange: networks.Floating, Log: log,
		Ingress: ingress.Public{Addresses: f.network.ingressAddresses, Reserved: lowered(f.network.reservedHosts)},
	})
	if err != nil {
		return err
	}
	defer st.Close()
	if err := ensureOperator(ctx, st, f); err != nil {
		return err
	}
	cluster, err := ceph.Connect(ctx, ceph.Config{
		ConfFile: f.cephConf, MonHosts: f.cephMonitors, User: f.cephUser, Keyring: f.cephKeyring, ImagesPool: f.imagesPool,
		VolumesPool: f.volumesPool, WorkDir: f.workDir,
	})
	if err != nil {
		return fmt.Errorf("connect to ceph at %s: %w", strings.Join(f.cephMonitors, ","), err)
	}
	defer cluster.Close()
	srv, err := server.New(ctx, server.Config{
		NamesSuffix: f.namesSuffix,
		Store:       st, Cluster: cluster, Issuer: f.issuer, AgentURL: f.agentURL, Southbound: f.southbound, Log: log, CephMonitors: f.cephMonitors, ImagesPool: f.imagesPool,
		VolumesPool: f.volumesPool, Terms: f.terms, NodeCertificateLife: f.nodeCertificateLife, Prices: prices, Egress: policy, Held: f.held,
		MovesForWaitingPod: f.movesForWaitingPod,
		SessionIdle:        f.sessionIdle, TrustedProxies: proxies, SigningKeyLife: f.signingKeyLife, LoginsPerSecond: f.loginsPerSecond, Network: networks,
	})
	if err != nil {
		return err
	}
	return serve(ctx, srv, held.Listen(listener, f.connectionsPerAddress, proxies), tls.NewListener(agentListener, srv.AgentTLS()), log)
}

// lowered returns names in lower case.
func lowered(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, strings.ToLower(strings.Trim(name, " .")))
	}
	return all
}

// masterKeys reads the keys, one per line: the first encrypts, and the others only decrypt what was
// encrypted with them before.
func masterKeys(file string) ([][]byte, error) {
	text, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for line := range strings.FieldsSeq(text) {
		key, err := hex.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("%s has a line that is not hexadecimal digits", file)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func ensureOperator(ctx context.Context, st *store.Store, f serverFlags) error {
	if f.operatorID == "" {
		return nil
	}
	id, err := uuid.Parse(f.operatorID)
	if err != nil {
		return fmt.Errorf("--operator-client-id: %w", err)
	}
	secret, err := readSecret(f.operatorSecretFile)
	if err != nil {
		return err
	}
	if len(secret) < 16 {
		return fmt.Errorf("--operator-secret-file: %s contains fewer than 16 characters; use a longer secret", f.operatorSecretFile)
	}
	return st.Control().EnsureOperator(ctx, id, secret)
}

// drainTime is how long running requests may take when the server stops. Streams are closed; their
// clients reconnect.
const drainTime = 5 * time.Second

// serve serves the API and the API for agents, and runs the control loops.
func serve(ctx context.Context, srv *server.Server, listener, agentListener net.Listener, log *slog.Logger) error {
	streams, cutStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer cutStreams()
	hs := &http.Server{
		Handler: srv.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: server.MaxHeaderBytes, BaseContext: func(net.Listener) context.Context { return streams },
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), // failed handshakes
	}
	var loops sync.WaitGroup
	loops.Go(func() { srv.RunLoops(ctx) })
	served := make(chan error, 2)
	for _, l := range []net.Listener{listener, agentListener} {
		go func() { served <- hs.Serve(l) }()
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	time.AfterFunc(drainTime/2, cutStreams)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := hs.Shutdown(stopCtx)
	loops.Wait()
	for range 2 {
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
