// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// subscribe returns a channel that gets a value after changes of any nftables rules.
func subscribe() (changed <-chan struct{}, stop func(), err error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, nil, fmt.Errorf("subscribe to changes of nftables: %w", err)
	}
	signals := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, _, err := socket.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) { // ENOBUFS: the kernel dropped notifications
				return
			}
			select {
			case signals <- struct{}{}:
			default:
			}
		}
	}()
	return signals, func() { socket.Close(); <-ended }, nil
}
