// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"husk/dev"
	"husk/dev/fabric"
)

// Client provokes faults in the fleet of another process.
type Client struct{ http *http.Client }

// NewClient returns a client of the process that holds a state directory.
func NewClient(stateDir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket(stateDir))
		if err != nil {
			return nil, fmt.Errorf("nothing runs with the state directory %s: %w", stateDir, err)
		}
		return conn, nil
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Hosts returns the hosts of the fleet.
func (c *Client) Hosts(ctx context.Context) (hosts []Host, err error) {
	return hosts, c.call(ctx, http.MethodGet, "hosts", nil, &hosts)
}

// Processes returns the processes of the stack.
func (c *Client) Processes(ctx context.Context) (all []dev.Process, err error) {
	return all, c.call(ctx, http.MethodGet, "processes", nil, &all)
}

// Provoke does something to a process.
func (c *Client) Provoke(ctx context.Context, process string, fault dev.Fault) error {
	return c.call(ctx, http.MethodPost, "processes/"+process+"/"+string(fault), nil, nil)
}

// Start switches a host on that was killed, and returns when its programs are ready.
func (c *Client) Start(ctx context.Context, host string) error { return c.host(ctx, host, "start") }

// Kill takes a host's power away.
func (c *Client) Kill(ctx context.Context, host string) error { return c.host(ctx, host, "kill") }

// Freeze stops every process of a host.
func (c *Client) Freeze(ctx context.Context, host string) error { return c.host(ctx, host, "freeze") }

// Thaw continues every process of a host.
func (c *Client) Thaw(ctx context.Context, host string) error { return c.host(ctx, host, "thaw") }

// Heal undoes all cuts of a host.
func (c *Client) Heal(ctx context.Context, host string) error { return c.host(ctx, host, "heal") }

// Cut drops the packets between a host and others.
func (c *Client) Cut(ctx context.Context, host, from string, direction fabric.Direction) error {
	return c.call(ctx, http.MethodPost, "hosts/"+host+"/cut", cut{from, direction}, nil)
}

func (c *Client) host(ctx context.Context, name, verb string) error {
	return c.call(ctx, http.MethodPost, "hosts/"+name+"/"+verb, nil, nil)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dev/"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return errors.Unwrap(err) // without the URL, which is not a real one
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusConflict:
		return errors.New(strings.TrimSpace(string(raw)))
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s /%s: %s", method, path, resp.Status)
	case into == nil:
		return nil
	}
	return json.Unmarshal(raw, into)
}
