// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/google/uuid"
)

// rpc is a connection to this node's libvirtd that speaks its protocol directly. The C library has no calls for the single steps of a migration: it
// would need a connection to the other node's libvirtd.
//
// libvirtd ends what a connection has begun when that closes: it forgets a migration that was not performed yet, destroys a machine that has not received
// its memory, and leaves a machine paused whose memory has left.
type rpc struct {
	*golibvirt.Libvirt
	conn net.Conn
}

// defaultSocket is where libvirtd listens.
const defaultSocket = "/run/libvirt/libvirt-sock"

func dialRPC(ctx context.Context, uri string) (*rpc, error) {
	socket := defaultSocket
	if u, err := url.Parse(uri); err == nil && u.Query().Get("socket") != "" {
		socket = u.Query().Get("socket")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect to libvirt: %w", err)
	}
	r := &rpc{golibvirt.NewWithDialer(dialers.NewAlreadyConnected(conn)), conn}
	if err := r.within(ctx, callTimeout, r.Connect); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to libvirt: %w", err), conn.Close())
	}
	return r, nil
}

// within runs a call. If it does not return in time, or ctx ends, the connection is closed, and the call returns.
func (r *rpc) within(ctx context.Context, timeout time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-done:
		case <-ctx.Done():
			_ = r.conn.Close() //nolint:errcheck // the call returns an error
		}
	})
	err := f()
	expired := ctx.Err() != nil
	close(done)
	cancel()
	watching.Wait()
	if err != nil && expired {
		return fmt.Errorf("%w within %s: %w", ErrUnresponsive, timeout, err)
	}
	return err
}

func (r *rpc) close() { _ = r.conn.Close() } //nolint:errcheck // nothing is sent any more

func (r *rpc) find(pod uuid.UUID) (golibvirt.Domain, error) {
	dom, err := r.DomainLookupByUUID(golibvirt.UUID(pod))
	if err != nil {
		return dom, fmt.Errorf("look up the domain of pod %s: %w", pod, err)
	}
	return dom, nil
}

func param(name, value string) golibvirt.TypedParam {
	return golibvirt.TypedParam{Field: name, Value: *golibvirt.NewTypedParamValueString(value)}
}
