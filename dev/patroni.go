// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"husk/dev/balance"
)

// A fleet can have a primary and a standby of Postgres instead of one Postgres, each on a host of its own. Patroni runs them: it promotes the
// standby when the primary's host is lost. What the primary has acknowledged is on the standby, too, because commits are
// synchronous. Patroni keeps who is the primary in etcd, which runs on this machine.

const (
	etcdClientPort = 2379
	etcdPeerPort   = 2380
	patroniPort    = 8008
	// patroniTTL is how long a primary that does not respond stays the primary, in seconds. It is at least loop_wait and twice retry_timeout.
	patroniTTL = 12
)

type patroniTools struct{ etcd, patroni, control string }

// patroni is the part postgres of a fleet with several databases.
func (s *Stack) patroni() *part {
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.cfg.PostgresPort))
	var tools patroniTools
	return &part{
		name: "postgres",
		check: func() error {
			var errs [3]error
			tools.etcd, errs[0] = lookPath("etcd", "etcd-server")
			tools.patroni, errs[1] = lookPath("patroni", "patroni python3-etcd")
			tools.control, errs[2] = lookPath("pg_controldata", "postgresql-15", postgresBin) // it is next to the others, which Patroni runs
			return errors.Join(append(errs[:], portFree(local, "postgres-port"))...)
		},
		start: func(ctx context.Context, p *part) (string, error) {
			var err error
			if s.rolePassword, err = s.dir.secret("postgres-roles"); err != nil {
				return "", err
			}
			if err := s.startEtcd(ctx, p, tools.etcd); err != nil {
				return "", err
			}
			var backends []balance.Backend
			for i := range s.cfg.Databases {
				addr := s.databaseAddr(i)
				boot := func(ctx context.Context, h *Host) error { return s.bootPatroni(ctx, h, tools) }
				if _, err := s.AddHost(ctx, HostConfig{Name: fmt.Sprintf("db%d", i+1), Kind: DatabaseHost, Addr: addr, Boot: boot}); err != nil {
					return "", err
				}
				backends = append(backends, balance.Backend{Addr: netip.AddrPortFrom(addr, local.Port()).String(), Ready: patroniURL(addr, "primary"), Alive: patroniURL(addr, "primary")})
			}
			if err := s.Balance(local.String(), backends...); err != nil { // for people
				return "", err
			}
			err = poll(ctx, time.Minute, nil, func(ctx context.Context) error { return s.postgresRoles(ctx) })
			if err == nil {
				err = poll(ctx, time.Minute, nil, s.synchronous)
			}
			return fmt.Sprintf("on %s, a primary and a standby, database %s", local, database), err
		},
	}
}

func patroniURL(addr netip.Addr, path string) string {
	return fmt.Sprintf("http://%s/%s", netip.AddrPortFrom(addr, patroniPort), path)
}

// synchronous returns an error unless a standby has everything that the primary acknowledges.
func (s *Stack) synchronous(ctx context.Context) error {
	var failures error
	for i := range s.cfg.Databases {
		err := responds(ctx, patroniURL(s.databaseAddr(i), "synchronous"))
		if err == nil {
			return nil
		}
		failures = errors.Join(failures, err)
	}
	return failures
}

func responds(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true // leave no idle connection
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s responds %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// DatabaseIs returns an error unless the database at this address has a role: primary or synchronous.
func DatabaseIs(ctx context.Context, addr, role string) error {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	return responds(ctx, patroniURL(a, role))
}

func (s *Stack) startEtcd(ctx context.Context, p *part, path string) error {
	if err := s.dir.mkdir("etcd", 0o700); err != nil {
		return err
	}
	client := fmt.Sprintf("http://%s", netip.AddrPortFrom(s.EntryAddr(), etcdClientPort))
	peer := fmt.Sprintf("http://%s", netip.AddrPortFrom(s.EntryAddr(), etcdPeerPort))
	return s.spawnIn(ctx, p, spec{
		name: "etcd", path: path, signal: syscall.SIGTERM, grace: 5 * time.Second,
		args: []string{
			"--name", "etcd", "--data-dir", s.dir.join("etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "etcd=" + peer, "--log-level", "warn",
			"--auto-compaction-retention", "1",
		},
	}, 20*time.Second, func(ctx context.Context) error { return responds(ctx, client+"/health") })
}

func (s *Stack) bootPatroni(ctx context.Context, h *Host, tools patroniTools) error {
	cred, err := s.postgresUser()
	if err != nil {
		return err
	}
	home := "hosts/" + h.Name + "/postgres"
	if err := s.dir.mkdir(home, 0o700); err != nil {
		return err
	}
	conf, err := s.patroniConf(h, s.dir.join(home), filepath.Dir(tools.control))
	if err != nil {
		return err
	}
	path := s.dir.join(home, "patroni.yml")
	if err := writeFileAtomic(path, []byte(conf)); err != nil {
		return err
	}
	if cred != nil {
		if err := errors.Join(os.Chown(s.dir.join(home), int(cred.Uid), int(cred.Gid)), os.Chown(path, int(cred.Uid), int(cred.Gid))); err != nil {
			return err
		}
	}
	var children []*child
	err = s.spawnAs(ctx, &children, spec{
		name: "patroni", path: tools.patroni, args: []string{path}, credential: cred, signal: syscall.SIGTERM, grace: 30 * time.Second, host: h,
	}, time.Minute, func(ctx context.Context) error { return responds(ctx, patroniURL(h.Addr, "health")) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children = append(h.children, children...)
	return err
}

func (s *Stack) patroniConf(h *Host, home, bin string) (string, error) {
	super, err := s.dir.secret("postgres-superuser")
	if err != nil {
		return "", err
	}
	replication, err := s.dir.secret("postgres-replication")
	if err != nil {
		return "", err
	}
	parameters := strings.Builder{}
	for _, p := range postgresSettings {
		fmt.Fprintf(&parameters, "    %s: %q\n", p[0], p[1])
	}
	var hba strings.Builder
	for _, rule := range append(s.hbaRules(), fmt.Sprintf("host replication replicator %s %s", s.cfg.Fabric.Masked(), passwordAuth)) {
		fmt.Fprintf(&hba, "  - %s\n", rule)
	}
	return fmt.Sprintf(`scope: husk
name: %[1]s
restapi: {listen: "%[2]s:%[3]d", connect_address: "%[2]s:%[3]d"}
etcd3: {host: "%[4]s:%[5]d"}
bootstrap:
  dcs:
    ttl: %[6]d
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql: {use_pg_rewind: true, use_slots: true}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, {auth: scram-sha-256}, data-checksums]
postgresql:
  listen: "%[2]s:%[7]d"
  connect_address: "%[2]s:%[7]d"
  data_dir: %[8]s/data
  bin_dir: %[9]s
  pgpass: %[8]s/pgpass
  authentication:
    superuser: {username: postgres, password: %[10]s}
    replication: {username: replicator, password: %[11]s}
  pg_hba:
%[12]s  parameters:
    unix_socket_directories: %[8]s
%[13]s`, h.Name, h.Addr, patroniPort, s.EntryAddr(), etcdClientPort, patroniTTL, s.cfg.PostgresPort, home, bin, super, replication, hba.String(), parameters.String()), nil
}
