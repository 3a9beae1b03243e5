// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// channelPause is the pause between two attempts to connect to a channel whose queue is full.
const channelPause = 100 * time.Millisecond

// connect opens a guest's channel. QEMU queues one connection. While a busy QEMU has not accepted it, the kernel refuses the next
// connection at once with EAGAIN. That says nothing about the guest, so connect retries until ctx ends. A value from wake makes it return
// errNewState.
func connect(ctx context.Context, path string, wake <-chan struct{}) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		if !errors.Is(err, unix.EAGAIN) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-wake:
			return nil, errNewState
		case <-time.After(channelPause):
		}
	}
}
