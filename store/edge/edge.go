// SPDX-License-Identifier: Apache-2.0

// Package edge is what ingress processes (huskd ingress) read and write in Postgres. They log in with a role of their own, which sees nothing else:
// hosts, paths and addresses of services, and what the processes keep themselves, such as certificates. Private keys are sealed with a key that only
// ingress processes have.
package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk/ingress"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pools"
	"husk/store/seal"
)

// Config says where the database is.
type Config struct {
	URL  string // postgres://host/db with the password of the role
	Role string
	Keys [][]byte // each 32 bytes; the first one seals; the others open what they have sealed
	Log  *slog.Logger
}

// Store is the access of an ingress process to the database.
type Store struct {
	pool   *pools.Pool
	sealer *seal.Sealer
	hub    *hints.Hub
	holder uuid.UUID // of locks

	stop     context.CancelFunc
	finished sync.WaitGroup
}

// maxConns is how many connections an ingress process uses, except for the one on which hints arrive.
const maxConns = 8

// Open connects, and starts listening for hints.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	sealer, err := seal.New(cfg.Keys...)
	if err != nil {
		return nil, err
	}
	dsn, err := pools.WithRole(cfg.URL, cfg.Role)
	if err != nil {
		return nil, err
	}
	pool, err := pools.Open(ctx, cfg.URL, pools.Purpose{Name: "ingress", Role: cfg.Role, Max: maxConns})
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, sealer: sealer, hub: hints.NewHub(), holder: uuid.New()}
	if _, err := db.New(pool).EdgeHosts(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("read the hosts of ingresses as %s: %w", cfg.Role, err)
	}
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.finished.Go(func() { s.hub.Listen(listening, dsn, cfg.Log) })
	return s, nil
}

// Close ends every connection and waits for them.
func (s *Store) Close() {
	s.stop()
	s.finished.Wait()
	s.pool.Close()
}

// OnChange calls a function when ingresses may have changed. It must not block.
func (s *Store) OnChange(do func()) {
	s.hub.OnHint(hints.IngressPrefix, func(uuid.UUID, bool) { do() })
}

// ID names an ingress.
type ID struct{ Tenant, Ingress uuid.UUID }

// Host is what a process serves for a host.
type Host struct {
	ID

	Name        string
	Certificate Certificate
	HSTSSeconds int
	Paths       []Path
}

// Path leads to a service.
type Path struct {
	Path    string
	Exact   bool           // requests below it go elsewhere
	Service netip.AddrPort // invalid: it has no address yet
}

// Hosts returns what there is to serve.
func (s *Store) Hosts(ctx context.Context) ([]Host, error) {
	var found []db.EdgeIngressesRow
	var names []db.EdgeHostsRow
	var addresses []db.IngressServiceAddressesRow
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		q := db.New(tx)
		if found, err = q.EdgeIngresses(ctx); err != nil {
			return err
		}
		if names, err = q.EdgeHosts(ctx); err != nil {
			return err
		}
		addresses, err = q.IngressServiceAddresses(ctx, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read ingresses: %w", err)
	}
	type of struct {
		tenant uuid.UUID
		name   string
	}
	at := make(map[of]netip.Addr, len(addresses))
	for _, a := range addresses {
		at[of{a.TenantID, a.Service}] = a.Address
	}
	owners := make(map[of]db.EdgeHostsRow, len(names)) // a host that another tenant has is not in here
	for _, n := range names {
		owners[of{n.TenantID, n.Host}] = n
	}
	var hosts []Host
	for _, i := range found {
		for _, r := range i.Rules {
			owner, owned := owners[of{i.TenantID, r.Host}]
			if !owned || owner.IngressID != i.ID {
				continue
			}
			h := Host{ID: ID{i.TenantID, i.ID}, Name: r.Host, Certificate: Certificate{owner.IssuedAt, owner.ExpiresAt, owner.Failures}, HSTSSeconds: i.HstsSeconds}
			for _, p := range r.Paths {
				var service netip.AddrPort
				if a, known := at[of{i.TenantID, p.Service}]; known {
					service = netip.AddrPortFrom(a, uint16(p.Port)) //nolint:gosec // a port
				}
				h.Paths = append(h.Paths, Path{p.Path, p.Exact, service})
			}
			hosts = append(hosts, h)
		}
	}
	return hosts, nil
}

// Certificate is what is known about the certificate of a host.
type Certificate struct {
	IssuedAt  *time.Time // nil: there is none
	ExpiresAt *time.Time
	Failures  int // of the last attempts
}

// Due is a host whose certificate needs a look.
type Due struct {
	Certificate

	Host   string
	Tenant uuid.UUID
}

// Claim returns hosts whose certificates need a look. No other process gets them before the lease ends.
func (s *Store) Claim(ctx context.Context, limit int, lease time.Duration) ([]Due, error) {
	rows, err := db.New(s.pool).ClaimCertificates(ctx, db.ClaimCertificatesParams{LeaseSeconds: lease.Seconds(), Max: limit})
	due := make([]Due, 0, len(rows))
	for _, r := range rows {
		due = append(due, Due{Certificate{r.IssuedAt, r.ExpiresAt, r.Failures}, r.Host, r.TenantID})
	}
	return due, err
}

// HasCertificate reports whether a host has, or had, a certificate.
func (s *Store) HasCertificate(ctx context.Context, host string) (bool, error) {
	issued, err := db.New(s.pool).EdgeHostIssued(ctx, host)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return issued, err
}

// Order counts a new certificate of a tenant. It returns how many there are in this hour, and when that ends.
func (s *Store) Order(ctx context.Context, tenant uuid.UUID) (orders int, until time.Time, err error) {
	row, err := db.New(s.pool).CountOrder(ctx, tenant)
	return row.Orders, row.Since.Add(time.Hour), err
}

// Issued says that a host has a certificate, and when it needs the next look.
func (s *Store) Issued(ctx context.Context, host string, from, until, due time.Time) error {
	return db.New(s.pool).CertificateIssued(ctx, db.CertificateIssuedParams{Host: host, IssuedAt: &from, ExpiresAt: &until, DueAt: due})
}

// maxMessage is how long the text about a failure is at most, in bytes.
const maxMessage = 500

// Failed says that a host did not get a certificate.
func (s *Store) Failed(ctx context.Context, host, message string, due time.Time) error {
	return db.New(s.pool).CertificateFailed(ctx, db.CertificateFailedParams{Host: host, Message: Text(message, maxMessage), DueAt: due})
}

// Text makes a text that others have written fit to be stored and shown: valid UTF-8 without control characters, and not longer than this.
func Text(text string, most int) string {
	if len(text) > 2*most {
		text = text[:2*most]
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	for len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// Traffic is what has passed an ingress since the last report.
type Traffic struct {
	Requests                 [5]int64 // by the class of their status
	Limited                  int64
	ReceivedBytes, SentBytes int64
	Latest                   []ingress.Request
}

// Report adds what has passed ingresses, and keeps their latest requests. What belongs to an ingress that has been deleted is dropped.
func (s *Store) Report(ctx context.Context, all map[ID]*Traffic) error {
	return pgx.BeginFunc(ctx, s.pool.Pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		var latest db.AppendIngressRequestsParams
		for _, id := range sorted(all) {
			t := all[id]
			err := q.AddIngressTraffic(ctx, db.AddIngressTrafficParams{
				TenantID: id.Tenant, ID: id.Ingress, Informational: t.Requests[0], Successful: t.Requests[1], Redirected: t.Requests[2], Refused: t.Requests[3], Failed: t.Requests[4],
				Limited: t.Limited, ReceivedBytes: t.ReceivedBytes, SentBytes: t.SentBytes,
			})
			if err != nil {
				return err
			}
			for _, r := range t.Latest {
				raw, err := json.Marshal(r)
				if err != nil {
					return err
				}
				latest.Tenants, latest.Ingresses = append(latest.Tenants, id.Tenant), append(latest.Ingresses, id.Ingress)
				latest.Ats, latest.Requests = append(latest.Ats, r.At), append(latest.Requests, string(raw))
			}
		}
		if err := q.AppendIngressRequests(ctx, latest); err != nil {
			return err
		}
		for _, id := range sorted(all) {
			if len(all[id].Latest) == 0 {
				continue
			}
			if err := q.TrimIngressRequests(ctx, db.TrimIngressRequestsParams{TenantID: id.Tenant, IngressID: id.Ingress, Kept: ingress.KeptRequests}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Put stores a value.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	return db.New(s.pool).PutEdgeValue(ctx, db.PutEdgeValueParams{Key: key, Value: s.sealer.Seal(value, key), Size: len(value)})
}

// ErrNone means that there is no such value.
var ErrNone = errors.New("no such value is stored")

// Value is what is known about a stored value.
type Value struct {
	Data     []byte
	Modified time.Time
}

// Get returns a value, or ErrNone.
func (s *Store) Get(ctx context.Context, key string) (Value, error) {
	row, err := db.New(s.pool).EdgeValue(ctx, key)
	if errors.Is(err, pgx.ErrNoRows) {
		return Value{}, fmt.Errorf("%s: %w", key, ErrNone)
	}
	if err != nil {
		return Value{}, err
	}
	data, err := s.sealer.Open(row.Value, key)
	if err != nil {
		return Value{}, fmt.Errorf("%s: %w", key, err)
	}
	return Value{data, row.Modified}, nil
}

// Keys returns all keys that begin with a prefix.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	return db.New(s.pool).EdgeKeys(ctx, prefix)
}

// Remove removes a key and all below it.
func (s *Store) Remove(ctx context.Context, key string) error {
	return db.New(s.pool).RemoveEdgeValues(ctx, key)
}

// lockLease is how long a lock outlives a process that does not renew it.
const lockLease = 30 * time.Second

// TryLock takes or renews a lock, unless another process has it.
func (s *Store) TryLock(ctx context.Context, name string) (bool, error) {
	n, err := db.New(s.pool).TakeEdgeLock(ctx, db.TakeEdgeLockParams{Name: name, Holder: s.holder, Seconds: lockLease.Seconds()})
	return n == 1, err
}

// RenewEvery is how often a process that has a lock must renew it.
const RenewEvery = lockLease / 3

// Unlock releases a lock.
func (s *Store) Unlock(ctx context.Context, name string) error {
	return db.New(s.pool).ReleaseEdgeLock(ctx, db.ReleaseEdgeLockParams{Name: name, Holder: s.holder})
}

// sorted returns the ingresses in an order that is the same in all processes, so that their transactions do not wait for each other in a circle.
func sorted(all map[ID]*Traffic) []ID {
	ids := make([]ID, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int {
		if order := bytes.Compare(a.Tenant[:], b.Tenant[:]); order != 0 {
			return order
		}
		return bytes.Compare(a.Ingress[:], b.Ingress[:])
	})
	return ids
}
