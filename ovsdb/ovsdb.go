// SPDX-License-Identifier: Apache-2.0

// Package ovsdb keeps a connection to an OVSDB database (RFC 7047), with a copy of its content in memory, and writes to it.
//
// libovsdb itself never leaves a member of a cluster that hangs: one deadline covers its walk over all endpoints, and the hung one comes first. So
// there is one client per endpoint, without reconnection, every call has a deadline, and after the first failure the next endpoint gets its turn.
package ovsdb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// How long a database may take: to accept a connection, to send its content, and to commit a transaction.
const (
	connectTimeout  = time.Second
	loadTimeout     = 20 * time.Second
	transactTimeout = 3 * time.Second
)

// Config describes a connection.
type Config struct {
	Database   string                              // what it is called in errors
	Model      func() (model.ClientDBModel, error) // its tables
	Monitor    func(client.Client) *client.Monitor // what is kept in memory; nil: all tables of the model
	Connected  func(client.Client)                 // called with each new connection, before its content is loaded; may be nil
	Endpoints  []string                            // such as unix:/run/ovn/ovnnb_db.sock or ssl:192.0.2.1:6641
	LeaderOnly bool                                // the database is a cluster, and only its leader will do
	TLS        *tls.Config                         // for endpoints with ssl:
}

// Connection is a connection that is opened again when it is needed. It belongs to one goroutine, except for its client.
type Connection struct {
	cfg  Config
	next int
	db   client.Client // nil: not connected
}

// New returns a connection that is not open yet.
func New(cfg Config) *Connection { return &Connection{cfg: cfg} }

// Open makes sure that the connection is open. fresh means that it was opened now, and the content was read again.
func (c *Connection) Open(ctx context.Context) (fresh bool, err error) {
	if c.db != nil && c.db.Connected() {
		return false, nil
	}
	c.Close()
	var failures []error
	for range c.cfg.Endpoints {
		endpoint := c.cfg.Endpoints[c.next]
		db, err := c.dial(ctx, endpoint)
		if err == nil {
			c.db = db
			return true, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", endpoint, err))
		c.next = (c.next + 1) % len(c.cfg.Endpoints)
		if ctx.Err() != nil {
			break
		}
	}
	return false, fmt.Errorf("connect to %s: %w", c.cfg.Database, errors.Join(failures...))
}

func (c *Connection) dial(ctx context.Context, endpoint string) (client.Client, error) {
	tables, err := c.cfg.Model()
	if err != nil {
		return nil, err
	}
	db, err := client.NewOVSDBClient(tables, client.WithEndpoint(endpoint), client.WithLeaderOnly(c.cfg.LeaderOnly), client.WithTLSConfig(c.cfg.TLS))
	if err != nil {
		return nil, err
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := db.Connect(connecting); err != nil {
		db.Close()
		return nil, err
	}
	if c.cfg.Connected != nil {
		c.cfg.Connected(db)
	}
	loading, done := context.WithTimeout(ctx, loadTimeout)
	defer done()
	// One monitor for everything: with several, a reconnection would empty the cache.
	if c.cfg.Monitor != nil {
		_, err = db.Monitor(loading, c.cfg.Monitor(db))
	} else {
		_, err = db.MonitorAll(loading)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("read it: %w", err)
	}
	return db, nil
}

// Client returns the client of the open connection. Its methods that read use the copy in memory.
func (c *Connection) Client() client.Client { return c.db }

// Close closes the connection. The next one is to another endpoint.
func (c *Connection) Close() {
	if c.db == nil {
		return
	}
	c.db.Close()
	c.db = nil
	c.next = (c.next + 1) % len(c.cfg.Endpoints)
}

// Transact commits operations, all or none. After an error, it is not known whether they were committed, and the connection is closed.
func (c *Connection) Transact(ctx context.Context, ops []ovsdb.Operation) error {
	ctx, cancel := context.WithTimeout(ctx, transactTimeout)
	defer cancel()
	results, err := c.db.Transact(ctx, ops...)
	if err == nil {
		_, err = ovsdb.CheckOperationResults(results, ops)
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("commit %d operations in %s: %w", len(ops), c.cfg.Database, err)
	}
	return nil
}
