// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed roles.sql
var rolesSQL string

// postgresBin is where Debian keeps the server's programs; they are not in PATH.
const postgresBin = "/usr/lib/postgresql/15/bin"

const (
	database  = "husk"
	superuser = "postgres"
	owner     = "husk_owner"
)

// postgres is a Postgres with its own data directory. It listens on loopback and on a unix socket
// in the state directory. Every user needs a password.
func (s *Stack) postgres() *part {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.cfg.PostgresPort))
	var initdb, server string
	var cred *syscall.Credential
	return &part{
		name: "postgres",
		check: func() (err error) {
			var errs [3]error
			initdb, errs[0] = lookPath("initdb", "postgresql-15", postgresBin)
			server, errs[1] = lookPath("postgres", "postgresql-15", postgresBin)
			errs[2] = portFree(addr, "postgres-port")
			return errors.Join(errs[:]...)
		},
		start: func(ctx context.Context, p *part) (string, error) {
			var err error
			if cred, err = s.postgresUser(); err != nil {
				return "", err
			}
			password, err := s.dir.secret("postgres-superuser")
			if err != nil {
				return "", err
			}
			if s.rolePassword, err = s.dir.secret("postgres-roles"); err != nil {
				return "", err
			}
			if err := s.initdb(ctx, initdb, cred, password); err != nil {
				return "", err
			}
			if err := s.writeHBA(); err != nil {
				return "", err
			}
			if err := s.awaitOldBackends(ctx); err != nil {
				return "", err
			}
			if err := s.disownDeadPostmaster(); err != nil {
				return "", err
			}
			err = s.spawnIn(ctx, p, spec{
				name: "postgres", path: server, args: s.postgresArgs(), credential: cred,
				signal: syscall.SIGINT, // a fast shutdown: ends connections, then makes a checkpoint
				grace:  20 * time.Second,
			}, 60*time.Second, s.postgresAnswers)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("on %s, database %s", addr, database), s.postgresRoles(ctx)
		},
	}
}

// postgresUser returns the user that the server runs as: Postgres refuses to run as root.
func (s *Stack) postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if err := reachable(s.dir.join("postgres")); err != nil {
		return nil, err
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install postgresql-15 creates the user", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// initdb creates the data directory once. It uses another name and renames the directory when it is
// complete, so a killed start begins again.
func (s *Stack) initdb(ctx context.Context, initdb string, cred *syscall.Credential, password string) error {
	home, data, half := s.dir.join("postgres"), s.dir.join("postgres", "data"), s.dir.join("postgres", "data.half")
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	pwfile := s.dir.join("postgres", "pwfile")
	err := errors.Join(
		s.dir.mkdir("postgres", 0o700),
		os.RemoveAll(half),
		os.WriteFile(pwfile, []byte(password+"\n"), 0o600))
	if err != nil {
		return err
	}
	defer os.Remove(pwfile)
	if cred != nil {
		err = errors.Join(os.Chown(home, int(cred.Uid), int(cred.Gid)), os.Chown(pwfile, int(cred.Uid), int(cred.Gid)))
		if err != nil {
			return err
		}
	}
	args := []string{
		"--pgdata", half, "--username", superuser, "--pwfile", pwfile, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
	}
	if s.cfg.Throwaway {
		args = append(args, "--no-sync")
	}
	if _, _, err := s.run(ctx, cred, "", initdb, args...); err != nil {
		return err
	}
	return os.Rename(half, data)
}

const passwordAuth = "scram-sha-256" //nolint:gosec // the name of a method, no password

// hbaRules say from where clients may connect. Every user needs a password.
func (s *Stack) hbaRules() []string {
	const everybody = "all all" //nolint:dupword // every database, every user
	rules := []string{"local " + everybody + " " + passwordAuth, "host " + everybody + " 127.0.0.1/32 " + passwordAuth}
	if s.cfg.Fabric.IsValid() {
		rules = append(rules, fmt.Sprintf("host %s %s %s", everybody, s.cfg.Fabric.Masked(), passwordAuth))
	}
	return rules
}

func (s *Stack) writeHBA() error {
	text := strings.Join(s.hbaRules(), "\n") + "\n"
	return os.WriteFile(s.dir.join("postgres", "hba.conf"), []byte(text), 0o644) //nolint:gosec // Postgres' user reads it
}

// postgresListen returns the addresses at which Postgres listens: loopback for people, and the fabric for hosts.
func (s *Stack) postgresListen() string {
	if s.cfg.Fabric.IsValid() {
		return "127.0.0.1," + s.postgresAddr().String()
	}
	return "127.0.0.1"
}

// disownDeadPostmaster lets Postgres start where PID 1 does not reap processes, as in many
// containers. A killed predecessor remains there as a zombie, which Postgres takes for running. If
// the lock file has the pid of this process, Postgres treats it as stale, but still checks the rest
// of the file: whether an old backend still uses the shared memory.
func (s *Stack) disownDeadPostmaster() error {
	path := s.dir.join("postgres", "data", "postmaster.pid")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil //nolint:nilerr // Postgres reports a better error
	}
	if _, err := startTime(pid); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%d\n%s", os.Getpid(), rest), 0o600)
}

// awaitOldBackends waits until the backends of a killed predecessor have ended. They notice its end by themselves, but Postgres does not
// start before. It gives up after a while, so that Postgres reports what is wrong.
func (s *Stack) awaitOldBackends(ctx context.Context) error {
	data, err := os.ReadFile(s.dir.join("postgres", "data", "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const line = 6 // with the key and the id of the shared memory
	lines := strings.Split(string(data), "\n")
	if len(lines) <= line || len(strings.Fields(lines[line])) != 2 {
		return nil
	}
	id := strings.Fields(lines[line])[1]
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); {
		inUse, err := sharedMemoryInUse(id)
		if err != nil || !inUse {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// sharedMemoryInUse reports whether a process is attached to the System V shared memory with this id.
func sharedMemoryInUse(id string) (bool, error) {
	const idColumn, attachedColumn = 1, 6
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > attachedColumn && f[idColumn] == id {
			return f[attachedColumn] != "0", nil
		}
	}
	return false, nil
}

// postgresArgs configures the server on its command line, so that a changed setting also applies to
// old data.
func (s *Stack) postgresArgs() []string {
	durable := "on"
	if s.cfg.Throwaway {
		durable = "off"
	}
	args := []string{"-D", s.dir.join("postgres", "data")}
	for _, setting := range [][2]string{
		{"listen_addresses", s.postgresListen()},
		{"hba_file", s.dir.join("postgres", "hba.conf")},
		{"port", strconv.Itoa(s.cfg.PostgresPort)},
		{"unix_socket_directories", s.dir.join("postgres")},
		{"fsync", durable},
		{"synchronous_commit", durable},
		{"full_page_writes", durable},
	} {
		args = append(args, "-c", setting[0]+"="+setting[1])
	}
	for _, setting := range postgresSettings {
		args = append(args, "-c", setting[0]+"="+setting[1])
	}
	return args
}

// postgresSettings are the same however Postgres runs.
var postgresSettings = [][2]string{
	{"shared_buffers", "64MB"},
	{"max_connections", "200"},
	{"max_wal_size", "512MB"},
	{"dynamic_shared_memory_type", "mmap"}, // in the data directory; a killed server would leave POSIX shared memory behind
	{"log_line_prefix", "%m [%p] %u@%d "},
	{"timezone", "UTC"},
}

func (s *Stack) postgresAnswers(ctx context.Context) error {
	return s.asSuperuser(ctx, "postgres", func(*pgx.Conn) error { return nil })
}

// postgresRoles creates the roles and the database if they do not exist.
func (s *Stack) postgresRoles(ctx context.Context) error {
	return s.asSuperuser(ctx, "postgres", func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "SELECT set_config('husk.role_password', $1, false)", s.rolePassword); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, rolesSQL); err != nil {
			return fmt.Errorf("roles: %w", err)
		}
		var there bool
		err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&there)
		if err != nil || there {
			return err
		}
		_, err = c.Exec(ctx, "CREATE DATABASE "+database+" OWNER "+owner)
		return err
	})
}

func (s *Stack) asSuperuser(ctx context.Context, db string, do func(*pgx.Conn) error) error {
	url, err := s.SuperuserURL(db)
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	return do(c)
}

// PostgresURL returns the URL with which a role (husk_owner, husk_control, husk_tenant) connects to
// the database husk.
func (s *Stack) PostgresURL(role string) string {
	return s.postgresURL(role, s.rolePassword, database)
}

// SuperuserURL returns the URL with which the superuser connects; only tests and repairs need it.
func (s *Stack) SuperuserURL(db string) (string, error) {
	password, err := s.dir.secret("postgres-superuser")
	return s.postgresURL(superuser, password, db), err
}

// postgresURL returns a URL with all databases. A client looks for the one that accepts writes by itself, so that it also sees what happens when
// that one is lost.
func (s *Stack) postgresURL(role, password, db string) string {
	query, addrs := "sslmode=disable", []netip.Addr{s.postgresAddr()}
	if s.cfg.Databases > 1 {
		query, addrs = query+"&target_session_attrs=read-write", nil
		for i := range s.cfg.Databases {
			addrs = append(addrs, s.databaseAddr(i))
		}
	}
	hosts := make([]string, len(addrs))
	for i, a := range addrs {
		hosts[i] = netip.AddrPortFrom(a, uint16(s.cfg.PostgresPort)).String()
	}
	return (&url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: strings.Join(hosts, ","), Path: "/" + db, RawQuery: query}).String()
}
