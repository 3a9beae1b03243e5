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
)

// A fleet can have several central hosts, each with a member of both of OVN's databases, which are clusters (raft), and a northd, of which one is
// active. Servers and nodes look for the members that lead by themselves.

// The ports of a central host.
const (
	northboundPort     = 6641
	southboundPort     = 6642
	northboundRaftPort = 6643
	southboundRaftPort = 6644
	northdPort         = 6645 // of the southbound database, for northd, which changes everything there
)

func (s *Stack) centralAddr(i int) netip.Addr { return s.fabricAddr(firstCentral + i) }

// clustered reports whether OVN's databases are clusters.
func (s *Stack) clustered() bool { return s.cfg.Centrals > 1 }

// members returns something of each central host, in OVSDB's notation for a cluster.
func (s *Stack) members(of func(i int) string) string {
	all := make([]string, s.cfg.Centrals)
	for i := range all {
		all[i] = of(i)
	}
	return strings.Join(all, ",")
}

func (s *Stack) centralRemote(scheme string, port uint16) string {
	return s.members(func(i int) string { return scheme + ":" + netip.AddrPortFrom(s.centralAddr(i), port).String() })
}

func centralName(i int) string { return fmt.Sprintf("c%d", i+1) }

// centralDir returns the directory of a central host's databases, relative to the state directory.
func centralDir(name string) string { return filepath.Join("hosts", name, "ovn") }

// startCluster starts the central hosts.
func (s *Stack) startCluster(ctx context.Context) error {
	for i := range s.cfg.Centrals {
		boot := func(ctx context.Context, h *Host) error { return s.bootCentral(ctx, h, i) }
		if _, err := s.AddHost(ctx, HostConfig{Name: centralName(i), Kind: CentralHost, Addr: s.centralAddr(i), Boot: boot}); err != nil {
			return err
		}
	}
	if err := poll(ctx, ovsStart, nil, s.prepareCluster); err != nil || s.cfg.AwaitTLS {
		return err
	}
	return s.awaitNorthd(ctx)
}

// secureCluster makes the databases listen again, after their certificates have been issued.
func (s *Stack) secureCluster(ctx context.Context) error {
	if err := s.setTLS(ctx, "ovn-nbctl", s.NorthboundAdmin(), "northbound-"); err != nil {
		return err
	}
	if err := s.prepareCluster(ctx); err != nil {
		return err
	}
	for _, h := range s.Hosts() {
		if h.Kind != CentralHost || h.running() == nil {
			continue
		}
		var children []*child
		err := s.startNorthd(ctx, h, &children)
		h.mu.Lock()
		h.children = append(h.children, children...)
		h.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return s.awaitNorthd(ctx)
}

// awaitNorthd waits until a northd has copied the northbound database to the southbound one.
func (s *Stack) awaitNorthd(ctx context.Context) error {
	return poll(ctx, ovsStart, nil, func(ctx context.Context) error {
		_, err := s.runOVN(ctx, "ovn-nbctl", "--db="+s.NorthboundAdmin(), "--timeout=5", "--wait=sb", "sync")
		return err
	})
}

// prepareCluster makes the databases listen, which needs a majority of their members.
func (s *Stack) prepareCluster(ctx context.Context) error {
	listen := []string{"--inactivity-probe=60000", "set-connection", fmt.Sprintf("ptcp:%d:0.0.0.0", northboundPort)}
	switch {
	case s.isSecured():
		listen[2] = "pssl" + strings.TrimPrefix(listen[2], "ptcp")
	case s.cfg.AwaitTLS:
		listen = []string{"del-connection"}
	}
	// By default, northd stays for up to 10 s with a member that hangs.
	_, err := s.runOVN(ctx, "ovn-nbctl", append([]string{
		"--db=" + s.NorthboundAdmin(), "--timeout=5", "init", "--", "set", "nb_global", ".", "options:northd_probe_interval=2000", "--",
	}, listen...)...)
	if err != nil {
		return err
	}
	return s.listenSouthbound(ctx)
}

func (s *Stack) bootCentral(ctx context.Context, h *Host, i int) error {
	name := centralDir(h.Name)
	if err := s.dir.mkdir(name, 0o700); err != nil {
		return err
	}
	dir := s.dir.join(name)
	var children []*child
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.children = append(h.children, children...)
	}()
	for _, m := range []struct {
		db       ovsdb
		database string
		raft     uint16
	}{
		{ovsdb{"ovn-nb", dir, "nb.db", "nb.sock", "ovn-nb", listensAs("OVN_Northbound", "NB_Global")}, "OVN_Northbound", northboundRaftPort},
		{ovsdb{"ovn-sb", dir, "sb.db", "sb.sock", "ovn-sb", listensAs("OVN_Southbound", "SB_Global")}, "OVN_Southbound", southboundRaftPort},
	} {
		if err := s.joinCluster(ctx, m.db, m.database, i, m.raft); err != nil {
			return err
		}
		if err := s.serveDatabase(ctx, &children, h, m.db); err != nil {
			return err
		}
		control := filepath.Join(dir, m.db.name+".ctl")
		err := poll(ctx, ovsStart, nil, func(ctx context.Context) error {
			status, err := s.runOVN(ctx, "ovs-appctl", "-t", control, "--timeout=5", "cluster/status", m.database)
			if err == nil && !slices.Contains(strings.Split(status, "\n"), "Status: cluster member") {
				err = errors.New(status)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	// Without certificates, it could not connect, and would then retry less and less often.
	if s.cfg.AwaitTLS && !s.isSecured() {
		return nil
	}
	return s.startNorthd(ctx, h, &children)
}

func (s *Stack) startNorthd(ctx context.Context, h *Host, children *[]*child) error {
	dir := s.dir.join(centralDir(h.Name))
	args := []string{"--ovnnb-db=" + s.NorthboundRemote(), "--ovnsb-db=" + s.centralRemote(s.scheme(), northdPort)}
	if s.isSecured() {
		// The certificate is for both databases, which have different authorities.
		args = append(args, "--private-key="+filepath.Join(s.OVNTLS(), "northbound-key.pem"),
			"--certificate="+filepath.Join(s.OVNTLS(), "northbound-certificate.pem"), "--ca-cert="+filepath.Join(s.OVNTLS(), "authority.pem"))
	}
	sp, err := s.ovsDaemon(h, "ovn-northd", "ovn-northd", dir, "northd.ctl", args...)
	if err != nil {
		return err
	}
	control := filepath.Join(dir, "northd.ctl")
	return s.spawnAs(ctx, children, sp, ovsStart, func(ctx context.Context) error { return dial(ctx, control) })
}

// joinCluster makes a member's file at its first start. The first member makes the cluster.
func (s *Stack) joinCluster(ctx context.Context, db ovsdb, database string, i int, raft uint16) error {
	file := filepath.Join(db.dir, db.file)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		return err // of an earlier start, or nil
	}
	if err := os.RemoveAll(file + ".new"); err != nil {
		return err
	}
	member := func(i int) string { return "tcp:" + netip.AddrPortFrom(s.centralAddr(i), raft).String() }
	args := []string{"create-cluster", file + ".new", s.schema(db.schema), member(0)}
	if i > 0 {
		args = []string{"join-cluster", file + ".new", database, member(i), member(0)}
	}
	if _, err := s.runOVN(ctx, "ovsdb-tool", args...); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
