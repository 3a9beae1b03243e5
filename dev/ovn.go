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

// southboundArgs make the southbound database listen as its own content says, with the certificate that its content says.
var southboundArgs = []string{
	"--remote=db:OVN_Southbound,SB_Global,connections",
	"--private-key=db:OVN_Southbound,SSL,private_key", "--certificate=db:OVN_Southbound,SSL,certificate", "--ca-cert=db:OVN_Southbound,SSL,ca_cert",
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
		{"ovn-nb", dir, "nb.db", "nb.sock", "ovn-nb", nil},
		{"ovn-sb", dir, "sb.db", "sb.sock", "ovn-sb", southboundArgs},
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

// listenSouthbound makes the southbound database listen for nodes.
func (s *Stack) listenSouthbound(ctx context.Context) error {
	at := fmt.Sprintf("%d:%s", s.southboundAddr().Port(), s.southboundAddr().Addr())
	var listen []string
	if s.clustered() {
		at = fmt.Sprintf("%d:0.0.0.0", southboundPort)
		listen = append(listen, fmt.Sprintf("ptcp:%d:0.0.0.0", northdPort))
	}
	switch {
	case s.isSecured():
		// A node can change what is its own. That is what ovn-controller's role says, which northd describes in the database.
		listen = append(listen, "role=ovn-controller", "pssl:"+at)
	case !s.cfg.AwaitTLS:
		listen = append(listen, "ptcp:"+at)
	}
	// By default, the server closes the connection of a node that does not answer within 5 s, which a busy one does not always do.
	command := append([]string{"--inactivity-probe=60000", "set-connection"}, listen...)
	if len(listen) == 0 {
		command = []string{"del-connection"}
	}
	db := []string{"--db=" + s.SouthboundAdmin(), "--timeout=10"}
	_, err := s.runOVN(ctx, "ovn-sbctl", slices.Concat(db, command)...)
	if err == nil && s.clustered() {
		// A northd that hangs must lose its lock soon, so that another one becomes active.
		_, err = s.runOVN(ctx, "ovn-sbctl", slices.Concat(db, []string{"set", "connection", listen[0], "inactivity_probe=2000"})...)
	}
	return err
}

// SecureSouthbound makes the southbound database accept only nodes with a certificate of an authority, in which the common name is the node's
// name as a chassis, and present a certificate itself. The arguments are PEM files.
func (s *Stack) SecureSouthbound(ctx context.Context, key, certificate, authority string) error {
	if _, err := s.runOVN(ctx, "ovn-sbctl", "--db="+s.SouthboundAdmin(), "--timeout=10", "set-ssl", key, certificate, authority); err != nil {
		return err
	}
	s.mu.Lock()
	s.secured = true
	s.mu.Unlock()
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

// NorthboundRemote returns where the northbound database is, in OVSDB's notation. Every process of this machine and its hosts can use it.
func (s *Stack) NorthboundRemote() string {
	if s.clustered() {
		return s.centralRemote("tcp", northboundPort)
	}
	return "unix:" + s.dir.join("ovn", "nb.sock")
}

// SouthboundRemote returns where nodes reach the southbound database, in OVSDB's notation.
func (s *Stack) SouthboundRemote() string {
	scheme := "tcp"
	if s.isSecured() {
		scheme = "ssl"
	}
	if s.clustered() {
		return s.centralRemote(scheme, southboundPort)
	}
	return scheme + ":" + s.southboundAddr().String()
}

// SouthboundAdmin returns where the southbound database can be changed without restrictions, in OVSDB's notation.
func (s *Stack) SouthboundAdmin() string {
	if s.clustered() {
		return s.members(func(i int) string { return "unix:" + s.dir.join(centralDir(centralName(i)), "sb.sock") })
	}
	return "unix:" + s.dir.join("ovn", "sb.sock")
}
