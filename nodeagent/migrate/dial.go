// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// protocol is what the connection of two agents is upgraded to.
const protocol = "husk-memory/1"

// dialFor is how long an agent tries to reach the other one, which may not know of the move yet, and dialPause how long it waits in between.
const (
	dialFor   = time.Minute
	dialPause = 300 * time.Millisecond
)

// Dial connects to the agent at an endpoint for a placement of a pod. It tries until the other agent expects it.
func Dial(ctx context.Context, config *tls.Config, endpoint string, pod uuid.UUID, placement int64) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialFor)
	defer cancel()
	for {
		conn, err := dial(ctx, config, endpoint, pod, placement)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialPause):
		}
	}
}

func dial(ctx context.Context, config *tls.Config, endpoint string, pod uuid.UUID, placement int64) (net.Conn, error) {
	at, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: config}
	conn, err := d.DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return nil, fmt.Errorf("connect to the node that the pod goes to: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // the request returns an error
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/v1/pods/%s/memory?placement=%d", endpoint, pod, placement), nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", protocol)
	if err := r.Write(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), r) // the other node sends nothing after it
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	_ = answer.Body.Close() //nolint:errcheck // it has none
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.Join(fmt.Errorf("the node that the pod goes to answers %s", answer.Status), conn.Close())
	}
	return conn, nil
}

// Asked returns the placement that a request of another agent is about.
func Asked(r *http.Request) (placement int64, ok bool) {
	placement, err := strconv.ParseInt(r.URL.Query().Get("placement"), 10, 64)
	return placement, err == nil && r.Header.Get("Upgrade") == protocol
}

// Accept takes over the connection of such a request.
func Accept(w http.ResponseWriter) (net.Conn, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(time.Time{})
	if err == nil {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
