// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ovn is OVN's central part: the northbound database, in which a server describes the tenants' networks, the southbound database, which nodes read,
// and northd between them. Without hosts, this machine is also a node (chassis.go).
func (s *Stack) ovn() *part {
	addr := s.southboundAddr()
	return &part{
		name: "ovn",
		check: func() error {
			var errs []error
			if s.cfg.Parts&OVN != 0 {
				errs = append(errs, s.ovnTools("ovsdb-tool", "ovsdb-server", "ovn-nbctl", "ovn-sbctl", "ovn-northd", "ovn-appctl", "ovs-appctl"))
				if !s.clustered() {
					errs = append(errs, portFree(addr, "southbound-port"))
				}
			}
			if s.cfg.Parts&OVS != 0 {
				errs = append(errs, s.chassisTools(), s.bridgesAreFree())
			}
			return errors.Join(errs...)
		},
		start: func(ctx context.Context, p *part) (string, error) {
			detail := ""
			if s.cfg.Parts&OVN != 0 {
				if err := s.startCentral(ctx, p); err != nil {
					return "", err
				}
				detail = "southbound database at " + s.SouthboundRemote()
			}
			if s.cfg.Parts&OVS == 0 && !s.cfg.Overlay.IsValid() {
				return detail, nil
			}
			detail = strings.TrimPrefix(detail+"; "+s.datapathReason(), "; ")
			if s.cfg.Parts&OVS == 0 {
				return detail, nil
			}
			return detail, s.startChassis(ctx, nil, &p.children)
		},
		cleanUp: s.removeDatapath,
	}
}

// ovnTools returns an error unless the programs exist.
func (s *Stack) ovnTools(names ...string) error {
	var errs []error
	for _, n := range names {
		_, err := s.ovnTool(n)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ovnTool returns the path of a program of Open vSwitch or OVN.
func (s *Stack) ovnTool(name string) (string, error) {
	const debian = "openvswitch-switch ovn-central ovn-host"
	if s.cfg.OVNDir == "" {
		return lookPath(name, debian)
	}
	path := filepath.Join(s.cfg.OVNDir, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s not found: run ./deps.sh, which unpacks Open vSwitch and OVN to build/ovn, and pass --ovn if that is not %s", path, s.cfg.OVNDir)
	}
	return path, nil
}

// runOVN runs a short-lived program of Open vSwitch or OVN, and returns its output.
func (s *Stack) runOVN(ctx context.Context, name string, args ...string) (string, error) {
	path, err := s.ovnTool(name)
	if err != nil {
		return "", err
	}
	out, _, err := s.run(ctx, nil, "", path, args...)
	return strings.TrimSpace(out), err
}

// ovsLog are the arguments that make a daemon log to stderr, with the date.
var ovsLog = []string{"-vsyslog:off", "-vconsole:info", "-vPATTERN:console:%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m"}

// ovsDaemon describes a daemon of Open vSwitch or OVN. Its files are in dir, and control is its socket there for ovs-appctl. At SIGTERM, it ends
// at once and keeps what it has configured.
func (s *Stack) ovsDaemon(h *Host, name, program, dir, control string, args ...string) (spec, error) {
	path, err := s.ovnTool(program)
	var env []string
	for _, p := range []string{"OVS", "OVN"} {
		for _, v := range []string{"RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR"} {
			env = append(env, p+"_"+v+"="+dir)
		}
	}
	args = slices.Concat(ovsLog, []string{"--no-chdir", "--unixctl=" + filepath.Join(dir, control)}, args)
	return spec{name: name, path: path, args: args, env: env, signal: syscall.SIGTERM, grace: 5 * time.Second, host: h}, err
}

const ovsStart = 20 * time.Second

// ovsdb is a database and the server of it.
type ovsdb struct {
	name, dir, file, socket, schema string
	args                            []string // in addition
}

// startDatabase starts the server. Before, it creates the database, or adapts it to a newer schema.
func (s *Stack) startDatabase(ctx context.Context, children *[]*child, h *Host, db ovsdb) error {
	if err := s.prepareDatabase(ctx, filepath.Join(db.dir, db.file), db.schema); err != nil {
		return err
	}
	return s.serveDatabase(ctx, children, h, db)
}

func (s *Stack) serveDatabase(ctx context.Context, children *[]*child, h *Host, db ovsdb) error {
	socket := filepath.Join(db.dir, db.socket)
	args := slices.Concat([]string{"--remote=punix:" + socket}, db.args, []string{filepath.Join(db.dir, db.file)})
	sp, err := s.ovsDaemon(h, db.name, "ovsdb-server", db.dir, db.name+".ctl", args...)
	if err != nil {
		return err
	}
	return s.spawnAs(ctx, children, sp, ovsStart, func(ctx context.Context) error { return dial(ctx, socket) })
}

// schema returns the path of a schema.
func (s *Stack) schema(name string) string {
	name += ".ovsschema"
	switch {
	case s.cfg.OVNDir != "":
		return filepath.Join(s.cfg.OVNDir, "share", name)
	case strings.HasPrefix(name, "ovn-"):
		return "/usr/share/ovn/" + name
	default:
		return "/usr/share/openvswitch/" + name
	}
}

func (s *Stack) prepareDatabase(ctx context.Context, file, schema string) error {
	path := s.schema(schema)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.RemoveAll(file + ".new"); err != nil {
			return err
		}
		if _, err := s.runOVN(ctx, "ovsdb-tool", "create", file+".new", path); err != nil {
			return err
		}
		return os.Rename(file+".new", file)
	}
	convert, err := s.runOVN(ctx, "ovsdb-tool", "needs-conversion", file, path)
	if err == nil && convert == "yes" {
		_, err = s.runOVN(ctx, "ovsdb-tool", "convert", file, path)
	}
	return err
}

// listensAs makes a database listen as its own content says, with the certificate that its content says.
func listensAs(database, global string) []string {
	return []string{
		"--remote=db:" + database + "," + global + ",connections",
		"--private-key=db:" + database + ",SSL,private_key", "--certificate=db:" + database + ",SSL,certificate", "--ca-cert=db:" + database + ",SSL,ca_cert",
	}
}

func (s *Stack) startCentral(ctx context.Context, p *part) error {
	if s.clustered() {
		return s.startCluster(ctx)
	}
	if err := s.dir.mkdir("ovn", 0o700); err != nil {
		return err
	}
	dir := s.dir.join("ovn")
	for _, db := range []ovsdb{
		{"ovn-nb", dir, "nb.db", "nb.sock", "ovn-nb", listensAs("OVN_Northbound", "NB_Global")}, // nowhere, unless a test says where
		{"ovn-sb", dir, "sb.db", "sb.sock", "ovn-sb", listensAs("OVN_Southbound", "SB_Global")},
	} {
		if err := s.startDatabase(ctx, &p.children, nil, db); err != nil {
			return err
		}
	}
	if _, err := s.runOVN(ctx, "ovn-nbctl", "--db="+s.NorthboundRemote(), "--timeout=10", "--no-wait", "init"); err != nil {
		return err
	}
	if err := s.listenSouthbound(ctx); err != nil {
		return err
	}
	sp, err := s.ovsDaemon(nil, "ovn-northd", "ovn-northd", dir, "northd.ctl", "--ovnnb-db="+s.NorthboundRemote(), "--ovnsb-db="+s.SouthboundAdmin())
	if err != nil {
		return err
	}
	return s.spawnAs(ctx, &p.children, sp, ovsStart, func(ctx context.Context) error { return s.northdIsActive(ctx, dir) })
}

// northdIsActive returns an error unless the northd with its socket in this directory is the active one.
func (s *Stack) northdIsActive(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, err := s.runOVN(ctx, "ovn-appctl", "-t", filepath.Join(dir, "northd.ctl"), "status")
	if err == nil && status != "Status: active" {
		err = errors.New(status)
	}
	return err
}

// listenSouthbound makes the southbound database listen for nodes.
func (s *Stack) listenSouthbound(ctx context.Context) error {
	at := fmt.Sprintf("%d:%s", s.southboundAddr().Port(), s.southboundAddr().Addr())
	if s.clustered() {
		at = fmt.Sprintf("%d:0.0.0.0", southboundPort)
	}
	// A node can change what is its own. That is what ovn-controller's role says, which northd describes in the database.
	scheme, listen := "ptcp", []string{"ptcp:" + at}
	if s.isSecured() {
		scheme, listen = "pssl", []string{"role=ovn-controller", "pssl:" + at}
	}
	if s.clustered() {
		listen = append([]string{fmt.Sprintf("%s:%d:0.0.0.0", scheme, northdPort)}, listen...)
	}
	if s.cfg.AwaitTLS && !s.isSecured() {
		listen = nil
	}
	// By default, the server closes the connection of a node that does not answer within 5 s, which a busy one does not always do.
	command := append([]string{"--inactivity-probe=60000", "set-connection"}, listen...)
	if len(listen) == 0 {
		command = []string{"del-connection"}
	}
	db := []string{"--db=" + s.SouthboundAdmin(), "--timeout=10"}
	_, err := s.runOVN(ctx, "ovn-sbctl", slices.Concat(db, command)...)
	if err == nil && s.clustered() && len(listen) > 0 {
		// A northd that hangs must lose its lock soon, so that another one becomes active.
		_, err = s.runOVN(ctx, "ovn-sbctl", slices.Concat(db, []string{"set", "connection", listen[0], "inactivity_probe=2000"})...)
	}
	return err
}

// OVNTLS returns the directory of the certificates of OVN's databases, which the caller writes: key.pem, certificate.pem and authority.pem, and the
// same with the prefix "northbound-".
func (s *Stack) OVNTLS() string { return s.dir.join("ovn-tls") }

// setTLS tells a database which files it uses.
func (s *Stack) setTLS(ctx context.Context, ctl, db, prefix string) error {
	args := []string{"--db=" + db, "--timeout=10", "set-ssl"}
	for _, name := range []string{"key", "certificate", "authority"} {
		args = append(args, filepath.Join(s.OVNTLS(), prefix+name+".pem"))
	}
	_, err := s.runOVN(ctx, ctl, args...)
	return err
}

// SecureOVN makes OVN's databases accept only clients with certificates of the authorities in OVNTLS. In the southbound database, a node's common
// name must be its name as a chassis.
func (s *Stack) SecureOVN(ctx context.Context) error {
	if err := s.setTLS(ctx, "ovn-sbctl", s.SouthboundAdmin(), ""); err != nil {
		return err
	}
	s.mu.Lock()
	s.secured = true
	s.mu.Unlock()
	if s.clustered() {
		return s.secureCluster(ctx)
	}
	return s.listenSouthbound(ctx)
}

func (s *Stack) isSecured() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secured
}

func (s *Stack) southboundAddr() netip.AddrPort {
	return netip.AddrPortFrom(s.serviceAddr(ovnNumber), uint16(s.cfg.SouthboundPort)) //nolint:gosec // a port
}

// scheme returns how a database that listens on the network is reached.
func (s *Stack) scheme() string {
	if s.cfg.AwaitTLS || s.isSecured() {
		return "ssl"
	}
	return "tcp"
}

// NorthboundRemote returns where servers reach the northbound database, in OVSDB's notation.
func (s *Stack) NorthboundRemote() string {
	if s.clustered() {
		return s.centralRemote(s.scheme(), northboundPort)
	}
	return s.NorthboundAdmin()
}

// SouthboundRemote returns where nodes reach the southbound database, in OVSDB's notation.
func (s *Stack) SouthboundRemote() string {
	if s.clustered() {
		return s.centralRemote(s.scheme(), southboundPort)
	}
	return s.scheme() + ":" + s.southboundAddr().String()
}

// NorthboundAdmin returns where this machine reaches the northbound database without a certificate, in OVSDB's notation.
func (s *Stack) NorthboundAdmin() string { return s.adminSocket("nb.sock") }

// SouthboundAdmin returns where this machine can change the southbound database without restrictions, in OVSDB's notation.
func (s *Stack) SouthboundAdmin() string { return s.adminSocket("sb.sock") }

func (s *Stack) adminSocket(name string) string {
	if s.clustered() {
		return s.members(func(i int) string { return "unix:" + s.dir.join(centralDir(centralName(i)), name) })
	}
	return "unix:" + s.dir.join("ovn", name)
}
