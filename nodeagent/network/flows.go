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

// ovn-controller does not notice when somebody else deletes its flows, such as "ovs-ofctl del-flows br-int". Without those of the pipeline, Open vSwitch
// passes nothing, and without those of port security, it passes everything. So the agent counts them, and if a table of these is empty that was not, it
// makes Open vSwitch end ovn-controller's connection. ovn-controller connects again and writes all of its flows.
//
// How many flows a table has says nothing: tenants change that with their security groups. But as long as a pod is connected, each of these tables has
// some.

// watched reports whether a table has flows as long as a pod is connected: those of the pipeline, and of port security (OVN, controller/lflow.h). Others
// belong to services and to what OVN learns.
func watched(table int) bool {
	const last = 65 // OFTABLE_LOG_TO_PHY
	return table <= last || table == portSecurity || table == neighborsSecurity || table == portSecurity+2
}

const (
	// countEvery is how often the flows are counted.
	countEvery = time.Second
	// ofTimeout limits a conversation with Open vSwitch.
	ofTimeout = 2 * time.Second
)

// watchFlows restores flows until ctx ends.
func (n *Network) watchFlows(ctx context.Context) {
	var before map[int]int // nil: not known
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
			failing, before = true, nil
			continue
		}
		failing = false
		n.mu.Lock()
		connected := len(n.ports)
		n.mu.Unlock()
		for table := range before {
			if now[table] > 0 || connected == 0 && len(now) > 0 { // ovn-controller removes those of the last pod after it has left
				continue
			}
			n.log.Error("something else has deleted flows of pods; they are written again", "table", table, "before", before[table])
			n.flowsBroken.Store(true)
			break
		}
		before = now
		if !n.flowsBroken.Load() {
			continue
		}
		if err := n.reconnect(ctx); err != nil {
			n.log.Error("flows of pods cannot be restored; retrying", "error", err)
			continue
		}
		n.restored.Add(1)
		n.flowsBroken.Store(false)
	}
}

// countFlows returns how many flows the watched tables of the bridge of pods have. Tables without flows are missing. It speaks OpenFlow 1.3 with Open
// vSwitch (ONF TS-006, 7.3.5.4).
func (n *Network) countFlows(ctx context.Context) (map[int]int, error) {
	conn, err := n.dialFlows(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that matters
	const hello, multipart, reply, tables, more, size = 0, 18, 19, 3, 1, 24
	request := []byte{version13, hello, 0, 8, 0, 0, 0, 1, version13, multipart, 0, 16, 0, 0, 0, 2, 0, tables, 0, 0, 0, 0, 0, 0}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	counts := map[int]int{}
	for {
		kind, message, err := readMessage(conn)
		if err != nil {
			return nil, err
		}
		switch kind {
		case hello:
			continue
		case reply:
		default:
			return nil, fmt.Errorf("the bridge of pods has sent a message of type %d, not the counts of its tables", kind)
		}
		if len(message) < 8 {
			return nil, errors.New("the bridge of pods has sent no counts of its tables")
		}
		for t := range slices.Chunk(message[8:], size) {
			if len(t) == size && watched(int(t[0])) && binary.BigEndian.Uint32(t[4:]) > 0 {
				counts[int(t[0])] = int(binary.BigEndian.Uint32(t[4:]))
			}
		}
		if binary.BigEndian.Uint16(message[2:])&more == 0 {
			return counts, nil
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
