// SPDX-License-Identifier: Apache-2.0

package route

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A machine that loses its power closes no connection. These limits say how long connections to it are kept.
const (
	// sentTimeout is how long the other machine may take to acknowledge what was sent. It is several retransmissions.
	sentTimeout = 5 * time.Second
	// A connection on which nothing is sent is checked after keepAliveIdle, then keepAliveCount times every keepAliveInterval.
	keepAliveIdle     = 4 * time.Second
	keepAliveInterval = 2 * time.Second
	keepAliveCount    = 3
)

// Dialer returns a dialer whose connections end within about ten seconds after the other machine has vanished. The timeout is for each address.
func Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
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
}
