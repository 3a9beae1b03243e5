// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"sync"

	"libvirt.org/go/libvirt"
)

// connections keeps one connection to libvirt, and replaces it when it is broken or a call on it has
// been abandoned. A replaced connection is closed when its last call has returned. While libvirt
// accepts no new connection, at most one thread waits for it.
type connections struct {
	uri     string
	dialing chan struct{} // contains a value while a goroutine opens a connection

	mu      sync.Mutex // never held during a call of libvirt
	current *connection
}

// connection is a connection with calls under way.
type connection struct {
	*libvirt.Connect
	calls    int
	replaced bool
}

func newConnections(uri string) *connections {
	return &connections{uri: uri, dialing: make(chan struct{}, 1)}
}

// begin returns a live connection for one call. It may take longer than ctx while it opens one.
func (c *connections) begin(ctx context.Context) (*connection, error) {
	if conn := c.use(); conn != nil {
		return conn, nil
	}
	select {
	case c.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.dialing }()
	if conn := c.use(); conn != nil { // somebody else has opened it meanwhile
		return conn, nil
	}
	opened, err := libvirt.NewConnect(c.uri)
	if err != nil {
		return nil, err
	}
	conn := &connection{Connect: opened, calls: 1}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = conn
	return conn, nil
}

// use returns the current connection, if it is alive.
func (c *connections) use() *connection {
	c.mu.Lock()
	conn := c.current
	if conn != nil {
		conn.calls++
	}
	c.mu.Unlock()
	if conn == nil {
		return nil
	}
	if alive, err := conn.IsAlive(); err != nil || !alive {
		c.replace(conn)
		c.end(conn)
		return nil
	}
	return conn
}

// end follows every begin.
func (c *connections) end(conn *connection) {
	c.mu.Lock()
	conn.calls--
	last := conn.replaced && conn.calls == 0
	c.mu.Unlock()
	if last {
		_, _ = conn.Close() //nolint:errcheck // nobody uses it any more
	}
}

// replace makes the next call open another connection.
func (c *connections) replace(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.replaced = true
	if c.current == conn {
		c.current = nil
	}
}

// close closes the current connection, when its last call has returned.
func (c *connections) close() {
	if conn := c.use(); conn != nil {
		c.replace(conn)
		c.end(conn)
	}
}
