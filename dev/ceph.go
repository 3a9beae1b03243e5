// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// The pools that huskd uses, and its Ceph user.
const (
	ImagesPool  = "husk-images"
	VolumesPool = "husk-volumes"
	CephUser    = "husk-server"
)

// cluster identifies this Ceph cluster. It is written last at the first start: without it, mon and
// OSD are created again.
type cluster struct {
	FSID string         `json:"fsid"`
	OSD  string         `json:"osd"` // the OSD's uuid
	Addr netip.AddrPort `json:"addr"`
	Keys []cephKey      `json:"keys"`
}

type cephTools struct{ mon, osd, mgr, monmaptool, ceph, rbd string }

// ceph is one mon, one OSD on a sparse file and, unless Throwaway, one mgr, with cephx everywhere. It is up in about
// two seconds: before the mon starts, every key is known and the OSD is formatted, and the timers
// that are meant for large clusters are short (cephconf.go).
func (s *Stack) ceph() *part {
	addr := netip.AddrPortFrom(s.cephAddr(), uint16(s.cfg.CephMonPort))
	var tools cephTools
	return &part{
		name: "ceph",
		check: func() error {
			var errs []error
			for _, t := range []struct {
				path      *string
				name, deb string
			}{
				{&tools.mon, "ceph-mon", "ceph-mon"},
				{&tools.osd, "ceph-osd", "ceph-osd"},
				{&tools.mgr, "ceph-mgr", "ceph-mgr"},
				{&tools.monmaptool, "monmaptool", "ceph-base"},
				{&tools.ceph, "ceph", "ceph-common"},
				{&tools.rbd, "rbd", "ceph-common"},
			} {
				path, err := lookPath(t.name, t.deb)
				*t.path, errs = path, append(errs, err)
			}
			return errors.Join(append(errs, portFree(addr, "ceph-mon-port"))...)
		},
		start: func(ctx context.Context, p *part) (string, error) {
			c, err := s.cephCluster(ctx, tools, addr)
			if err != nil {
				return "", err
			}
			if err := s.cephDaemons(ctx, p, tools, c); err != nil {
				return "", err
			}
			return fmt.Sprintf("mon on %s, pools %s and %s", addr, ImagesPool, VolumesPool), nil
		},
	}
}

// cephCluster creates the cluster's files at the first start, and adapts them to the configured
// address at later starts.
func (s *Stack) cephCluster(ctx context.Context, tools cephTools, addr netip.AddrPort) (cluster, error) {
	var c cluster
	if err := s.dir.mkdir("ceph", 0o700); err != nil { // keys and the tenants' data
		return c, err
	}
	path := s.dir.join("ceph", "cluster.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s.newCluster(ctx, tools, addr)
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	if c.Addr != addr {
		if err := s.moveMon(ctx, tools, addr); err != nil {
			return c, err
		}
		c.Addr = addr
		if err := s.saveCluster(c); err != nil {
			return c, err
		}
	}
	return c, s.writeCephFiles(c)
}

func (s *Stack) newCluster(ctx context.Context, tools cephTools, addr netip.AddrPort) (cluster, error) {
	for _, half := range []string{"mon", "osd"} {
		if err := os.RemoveAll(s.dir.join("ceph", half)); err != nil {
			return cluster{}, err
		}
	}
	for _, dir := range []string{"ceph/mon", "ceph/osd", "ceph/mgr"} {
		if err := s.dir.mkdir(dir, 0o700); err != nil {
			return cluster{}, err
		}
	}
	c := cluster{FSID: uuid.NewString(), OSD: uuid.NewString(), Addr: addr, Keys: cephKeys()}
	now := time.Now()
	for i := range c.Keys {
		c.Keys[i].Secret = newCephSecret(now)
	}
	if err := s.writeCephFiles(c); err != nil {
		return c, err
	}
	conf, monmap := s.CephConf(), s.dir.join("ceph", "monmap")
	if _, _, err := s.run(ctx, nil, "", tools.monmaptool, "--create", "--clobber", "--fsid", c.FSID,
		"--addv", "a", msgr2(addr), "--set-min-mon-release", "16", monmap); err != nil {
		return c, err
	}
	all := s.dir.join("ceph", "mkfs.keyring")
	if err := os.WriteFile(all, []byte(keyring(c.Keys...)), 0o600); err != nil {
		return c, err
	}
	defer os.Remove(all)
	if _, _, err := s.run(ctx, nil, "", tools.mon, "-c", conf, "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", all); err != nil {
		return c, err
	}
	if _, _, err := s.run(ctx, nil, "", tools.osd, "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", c.OSD, "--no-mon-config"); err != nil {
		return c, err
	}
	return c, s.saveCluster(c)
}

func (s *Stack) saveCluster(c cluster) error {
	data, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	return writeFileAtomic(s.dir.join("ceph", "cluster.json"), data)
}

// moveMon changes the mon's address, which is stored in the monmap.
func (s *Stack) moveMon(ctx context.Context, tools cephTools, addr netip.AddrPort) error {
	conf, monmap := s.CephConf(), s.dir.join("ceph", "monmap")
	for _, cmd := range [][]string{
		{tools.mon, "-c", conf, "-i", "a", "--extract-monmap", monmap},
		{tools.monmaptool, "--rm", "a", monmap},
		{tools.monmaptool, "--addv", "a", msgr2(addr), monmap},
		{tools.mon, "-c", conf, "-i", "a", "--inject-monmap", monmap},
	} {
		if _, _, err := s.run(ctx, nil, "", cmd[0], cmd[1:]...); err != nil {
			return fmt.Errorf("move mon to %s: %w", addr, err)
		}
	}
	return nil
}

func (s *Stack) cephDaemons(ctx context.Context, p *part, tools cephTools, c cluster) error {
	conf := s.CephConf()
	daemon := func(kind, path, id string, timeout time.Duration, probe func(context.Context) error) error {
		return s.spawnIn(ctx, p, spec{
			name: "ceph-" + kind, path: path, args: []string{"-c", conf, "-i", id, "-f"},
			signal: syscall.SIGTERM, grace: 20 * time.Second,
		}, timeout, probe)
	}
	err := daemon("mon", tools.mon, "a", 30*time.Second, func(ctx context.Context) error {
		return asokState(ctx, s.asok("mon.a"), "mon_status", "leader")
	})
	if err != nil {
		return err
	}
	if err := s.cephCommands(ctx, tools, s.setup(c)); err != nil {
		return err
	}
	// The mgr takes seconds to load its Python modules, so it starts before the OSD. Only the end
	// of this function waits for it.
	if !s.cfg.Throwaway {
		if err := daemon("mgr", tools.mgr, "a", 30*time.Second, func(context.Context) error { return nil }); err != nil {
			return err
		}
	}
	err = daemon("osd", tools.osd, "0", 60*time.Second, func(ctx context.Context) error {
		return asokState(ctx, s.asok("osd.0"), "status", "active")
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, pool := range []string{ImagesPool, VolumesPool} {
		// Also waits until the pool's placement groups serve I/O.
		if _, _, err := s.run(ctx, nil, "", tools.rbd, "-c", conf, "pool", "init", pool); err != nil {
			return err
		}
	}
	if s.cfg.Throwaway {
		return nil
	}
	return poll(ctx, 60*time.Second, nil, func(ctx context.Context) error {
		out, _, err := s.run(ctx, nil, "", tools.ceph, "-c", conf, "mgr", "stat", "-f", "json")
		if err == nil && !strings.Contains(out, `"available": true`) && !strings.Contains(out, `"available":true`) {
			err = errors.New("mgr is not available")
		}
		return err
	})
}

// cephCommands runs several commands in one run of the command line tool, because the tool takes
// longer to start than all commands take to run.
func (s *Stack) cephCommands(ctx context.Context, tools cephTools, commands []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, diagnostics, err := s.run(ctx, nil, strings.Join(commands, "\n")+"\n", tools.ceph, "-c", s.CephConf())
	if err != nil {
		return err
	}
	// In such a run, a failing command is only a line of output.
	for line := range strings.Lines(diagnostics) {
		if strings.HasPrefix(line, "Error") || strings.HasPrefix(line, "Invalid") {
			return fmt.Errorf("ceph: %s", strings.TrimSpace(line))
		}
	}
	return nil
}

// CephConf returns the path of ceph.conf.
func (s *Stack) CephConf() string { return s.dir.join("ceph", "ceph.conf") }

// CephAdminKeyring returns the path of client.admin's keyring.
func (s *Stack) CephAdminKeyring() string { return s.dir.join("ceph", "client.admin.keyring") }

// CephKeyring returns the path of the server's keyring (user CephUser).
func (s *Stack) CephKeyring() string { return s.dir.join("ceph", "client."+CephUser+".keyring") }

// MonHosts returns the mons as host:port.
func (s *Stack) MonHosts() []string {
	return []string{netip.AddrPortFrom(s.cephAddr(), uint16(s.cfg.CephMonPort)).String()}
}
