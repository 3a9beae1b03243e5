// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ovn-controller does not notice when somebody else deletes its flows, such as "ovs-ofctl del-flows br-int". Without flows, Open vSwitch passes nothing.
// So the agent counts them, and if most of them are gone at once, it makes Open vSwitch end ovn-controller's connection. ovn-controller connects
// again and writes all of its flows.

const (
	// countEvery is how often the flows are counted.
	countEvery = time.Second
	// ofTimeout limits a conversation with Open vSwitch.
	ofTimeout = 2 * time.Second
)

// watchFlows restores flows until ctx ends.
func (n *Network) watchFlows(ctx context.Context) {
	before, ports := 0, 0
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(countEvery):
		}
		now, err := n.countFlows(ctx)
		if err != nil {
			if !failing {
				n.log.Warn("the flows of pods cannot be counted, so nobody would notice if they are deleted; retrying", "error", err)
			}
			failing, before = true, 0
			continue
		}
		failing = false
		n.mu.Lock()
		connected := len(n.ports)
		n.mu.Unlock()
		if connected < ports { // a pod has left, perhaps the last one of its tenant
			before = 0
		}
		ports = connected
		if now < before/2 {
			n.log.Error("something else has deleted flows of pods; they are written again", "flows", now, "before", before)
			n.flowsBroken.Store(true)
			if err := n.reconnect(ctx); err != nil {
				n.log.Error("flows of pods cannot be restored; retrying", "error", err)
				continue
			}
			n.restored.Add(1)
			n.flowsBroken.Store(false)
		}
		before = now
	}
}

// countFlows returns how many flows the bridge of pods has. It speaks OpenFlow 1.3 with Open vSwitch (ONF TS-006, 7.3.5.3).
func (n *Network) countFlows(ctx context.Context) (int, error) {
	conn, err := n.dialFlows(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that matters
	const hello, multipart, reply, aggregate = 0, 18, 19, 2
	request := []byte{version13, hello, 0, 8, 0, 0, 0, 1}
	body := []byte{0, aggregate, 0, 0, 0, 0, 0, 0, allTables, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	body = append(body, make([]byte, 16)...)    // any cookie
	body = append(body, 0, 1, 0, 4, 0, 0, 0, 0) // any match
	request = append(request, version13, multipart, 0, byte(8+len(body)), 0, 0, 0, 2)
	if _, err := conn.Write(append(request, body...)); err != nil {
		return 0, err
	}
	for {
		kind, message, err := readMessage(conn)
		if err != nil {
			return 0, err
		}
		switch kind {
		case hello:
		case reply:
			if len(message) < 28 {
				return 0, errors.New("the bridge of pods has sent no count of flows")
			}
			return int(binary.BigEndian.Uint32(message[24:])), nil
		default:
			return 0, fmt.Errorf("the bridge of pods has sent a message of type %d, not the count of flows", kind)
		}
	}
}

// dialFlows opens a connection to the bridge of pods, for a short conversation.
func (n *Network) dialFlows(ctx context.Context) (net.Conn, error) {
	socket := filepath.Join(filepath.Dir(strings.TrimPrefix(n.cfg.OVSDB, "unix:")), integrationBridge+".mgmt")
	deadline := time.Now().Add(ofTimeout)
	conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

const version13 = 4

// reconnect ends the OpenFlow connections of the bridge of pods. Open vSwitch does that when the versions of OpenFlow change that the bridge allows.
func (n *Network) reconnect(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.open(ctx); err != nil {
		return err
	}
	bridge, err := n.bridge(ctx)
	if err != nil {
		return err
	}
	all := []string{"OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"}
	next := &bridgeRow{UUID: bridge.UUID, Protocols: all}
	if len(bridge.Protocols) == len(all) {
		next.Protocols = slices.DeleteFunc(all, func(p string) bool { return p == "OpenFlow11" })
	}
	ops, err := n.ovs.Client().Where(next).Update(next, &next.Protocols)
	if err != nil {
		return err
	}
	return n.ovs.Transact(ctx, ops)
}
