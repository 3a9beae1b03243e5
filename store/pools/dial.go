// SPDX-License-Identifier: Apache-2.0

package pools

import (
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// A machine that loses its power closes no connection. These limits say how long connections to it are kept.
const (
	// dialTimeout is for each address of Postgres, because the first one may be that of the lost machine.
	dialTimeout = 2 * time.Second
	// sentTimeout is how long Postgres' machine may take to acknowledge what was sent. It is several retransmissions.
	sentTimeout = 5 * time.Second
	// A connection on which nothing is sent, because Postgres works, is checked after keepAliveIdle, then keepAliveCount times every keepAliveInterval.
	keepAliveIdle     = 4 * time.Second
	keepAliveInterval = 2 * time.Second
	keepAliveCount    = 3
)

func dial() pgconn.DialFunc {
	d := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount},
		Control: func(network, _ string, c syscall.RawConn) (err error) {
			if network == "unix" {
				return nil
			}
			failed := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(sentTimeout.Milliseconds()))
			})
			if failed != nil {
				return failed
			}
			return err
		},
	}
	return d.DialContext
}
