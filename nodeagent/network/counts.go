// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"husk"
)

// OVN makes flows from the rules of security groups (server/network). A flow that a rule has made loads the rule's number into a register, and a flow
// that drops what no rule allows passes some of it to ovn-controller, with the name of the group and the direction. So both are recognized by their
// actions, whatever else OVN's flows look like, and Open vSwitch has counted their packets.

// dropNames begin the names of the rules of groups that drop, by their directions.
var dropNames = map[string]string{"husk-ingress-": "ingress", "husk-egress-": "egress"}

// Counts returns what the rules of security groups have allowed and dropped on this node. Numbers begin at zero whenever OVN makes a flow again.
func (n *Network) Counts(ctx context.Context) ([]husk.SecurityCount, error) {
	n.mu.Lock()
	connected := len(n.ports)
	n.mu.Unlock()
	if connected == 0 {
		return nil, nil
	}
	tables := n.tables
	if time.Since(n.tablesRead) > tablesEvery {
		tables = []byte{allTables}
	}
	found, where := map[husk.SecurityCount]*husk.SecurityCount{}, map[byte]bool{}
	for _, table := range tables {
		if err := n.readFlows(ctx, table, func(f flow) {
			key, ok := f.rule()
			if !ok {
				return
			}
			where[f.table] = true
			if found[key] == nil {
				c := key
				found[key] = &c
			}
			found[key].Packets += f.packets
			found[key].Bytes += f.bytes
		}); err != nil {
			return nil, err
		}
	}
	if time.Since(n.tablesRead) > tablesEvery {
		n.tables, n.tablesRead = nil, time.Now()
		for table := range where {
			n.tables = append(n.tables, table)
		}
		if len(n.tables) == 0 { // no pod of this node has a group yet
			n.tablesRead = time.Now().Add(tablesSoon - tablesEvery)
		}
	}
	all := make([]husk.SecurityCount, 0, len(found))
	for _, c := range found {
		all = append(all, *c)
	}
	return all, nil
}

const (
	// tablesEvery is how often all flows are read, to find the tables with those of groups. Between that, only these tables are read.
	tablesEvery = 5 * time.Minute
	tablesSoon  = 20 * time.Second
	allTables   = 0xff
)

// flow is a flow of Open vSwitch, as far as it is needed.
type flow struct {
	table          byte
	packets, bytes int64
	match          []byte // fields with their headers
	instructions   []byte
}

// rule returns which rule of a group a flow belongs to, without numbers.
func (f flow) rule() (c husk.SecurityCount, ok bool) {
	if group, direction, found := dropOf(f.instructions); found {
		return husk.SecurityCount{GroupID: group, Direction: direction}, true
	}
	// NXAST_REG_LOAD with 32 bits of the register XXREG0 (Open vSwitch, include/openflow/nicira-ext.h and lib/ofp-actions.c): the label of the rule.
	load := []byte{0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 7, 0, 31, 0, 1, 111 << 1, 16}
	at := bytes.Index(f.instructions, load)
	if at < 0 || len(f.instructions) < at+len(load)+8 {
		return c, false
	}
	number := binary.BigEndian.Uint64(f.instructions[at+len(load):])
	return husk.SecurityCount{Rule: int64(number & 0xffffffff)}, number != 0 //nolint:gosec // 32 bits
}

// dropOf finds the name of a rule that drops.
func dropOf(in []byte) (group uuid.UUID, direction string, found bool) {
	for name, direction := range dropNames {
		at := bytes.Index(in, []byte(name))
		if at < 0 || len(in) < at+len(name)+36 {
			continue
		}
		if group, err := uuid.Parse(string(in[at+len(name) : at+len(name)+36])); err == nil {
			return group, direction, true
		}
	}
	return group, "", false
}

// readFlows calls each for every flow of a table (ONF TS-006, 7.3.5.2).
func (n *Network) readFlows(ctx context.Context, table byte, each func(flow)) error {
	const hello, multipart, reply, flows, more = 0, 18, 19, 1, 1
	conn, err := n.dialFlows(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that matters
	request := []byte{version13, hello, 0, 8, 0, 0, 0, 1}
	body := []byte{0, flows, 0, 0, 0, 0, 0, 0, table, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	body = append(body, make([]byte, 16)...)    // any cookie
	body = append(body, 0, 1, 0, 4, 0, 0, 0, 0) // any match
	request = append(request, version13, multipart, 0, byte(8+len(body)), 0, 0, 0, 2)
	if _, err := conn.Write(append(request, body...)); err != nil {
		return err
	}
	for {
		kind, message, err := readMessage(conn)
		if err != nil {
			return err
		}
		switch kind {
		case hello:
			continue
		case reply:
		default:
			return fmt.Errorf("the bridge of pods has sent a message of type %d, not its flows", kind)
		}
		if len(message) < 8 {
			return errors.New("the bridge of pods has sent flows that are too short")
		}
		for rest := message[8:]; len(rest) > 0; {
			f, size, err := parseFlow(rest)
			if err != nil {
				return err
			}
			each(f)
			rest = rest[size:]
		}
		if binary.BigEndian.Uint16(message[2:])&more == 0 {
			return nil
		}
	}
}

// parseFlow reads a flow (struct ofp_flow_stats).
func parseFlow(in []byte) (f flow, size int, err error) {
	const fixed = 48
	short := errors.New("the bridge of pods has sent a flow that is too short")
	if len(in) < fixed+4 {
		return f, 0, short
	}
	size = int(binary.BigEndian.Uint16(in))
	match := (int(binary.BigEndian.Uint16(in[fixed+2:])) + 7) / 8 * 8
	if size < fixed+match || size > len(in) {
		return f, 0, short
	}
	f = flow{
		table: in[2], packets: int64(binary.BigEndian.Uint64(in[32:])), bytes: int64(binary.BigEndian.Uint64(in[40:])), //nolint:gosec // far below
		match: in[fixed+4 : min(fixed+int(binary.BigEndian.Uint16(in[fixed+2:])), size)], instructions: in[fixed+match : size],
	}
	return f, size, nil
}

// readMessage reads a message of OpenFlow.
func readMessage(conn io.Reader) (kind byte, message []byte, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint16(head[2:])) - len(head)
	if size < 0 {
		return 0, nil, errors.New("the bridge of pods has sent a message that is too short")
	}
	message = make([]byte, size)
	_, err = io.ReadFull(conn, message)
	return head[1], message, err
}

// Drops passes packets that no rule of a security group allowed to a function, until ctx ends or the connection does. Open vSwitch limits how many
// there are.
func (n *Network) Drops(ctx context.Context, each func(husk.SecurityDrop)) error {
	const hello, echoRequest, echoReply, experimenter, setConfig = 0, 2, 3, 4, 9
	conn, err := n.dialFlows(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was written that matters
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	request := []byte{version13, hello, 0, 8, 0, 0, 0, 1}
	// Packets come with their userdata (NXT_SET_PACKET_IN_FORMAT), and whole.
	request = append(request, version13, experimenter, 0, 20, 0, 0, 0, 2, 0, 0, 0x23, 0x20, 0, 0, 0, 16, 0, 0, 0, 2)
	request = append(request, version13, setConfig, 0, 12, 0, 0, 0, 3, 0, 0, 0xff, 0xff)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for {
		kind, message, err := readMessage(conn)
		if err != nil {
			return err
		}
		switch kind {
		case echoRequest:
			if _, err := conn.Write(append([]byte{version13, echoReply, 0, byte(8 + len(message)), 0, 0, 0, 0}, message...)); err != nil {
				return err
			}
		case experimenter:
			if d, ok := n.parseDrop(message); ok {
				each(d)
			}
		}
	}
}

// parseDrop reads a packet that Open vSwitch passes on (NXT_PACKET_IN2), if a group has dropped it.
func (n *Network) parseDrop(in []byte) (d husk.SecurityDrop, ok bool) {
	const packetIn, packetProperty, userdataProperty = 30, 0, 7
	if len(in) < 8 || binary.BigEndian.Uint32(in) != 0x2320 || binary.BigEndian.Uint32(in[4:]) != packetIn {
		return d, false
	}
	var packet, userdata []byte
	for rest := in[8:]; len(rest) >= 4; {
		kind, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if size < 4 || size > len(rest) {
			return d, false
		}
		switch kind {
		case packetProperty:
			packet = rest[4:size]
		case userdataProperty:
			userdata = rest[4:size]
		}
		rest = rest[min(len(rest), (size+7)/8*8):]
	}
	group, direction, found := dropOf(userdata)
	if !found {
		return d, false
	}
	d = husk.SecurityDrop{At: time.Now(), GroupID: group, Direction: direction}
	return n.describe(d, packet)
}

// describe adds what a frame says.
func (n *Network) describe(d husk.SecurityDrop, frame []byte) (husk.SecurityDrop, bool) {
	const header, ipv4, ipv6 = 14, 0x0800, 0x86dd
	if len(frame) < header {
		return d, false
	}
	mac := net.HardwareAddr(frame[0:6])
	if d.Direction == "egress" {
		mac = net.HardwareAddr(frame[6:12])
	}
	n.mu.Lock()
	for _, p := range n.ports {
		if bytes.Equal(p.MAC, mac) {
			d.PodID = p.PodID
		}
	}
	n.mu.Unlock()
	packet := frame[header:]
	var protocol byte
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == ipv4 && len(packet) >= 20 && len(packet) >= int(packet[0]&0xf)*4:
		d.Source, d.Destination = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		protocol, packet = packet[9], packet[int(packet[0]&0xf)*4:]
	case kind == ipv6 && len(packet) >= 40:
		d.Source, d.Destination = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
		protocol, packet = packet[6], packet[40:]
	default:
		return d, false
	}
	d.Protocol = map[byte]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMP"}[protocol]
	if d.Protocol == "" {
		d.Protocol = fmt.Sprint(protocol)
	}
	if (protocol == 6 || protocol == 17) && len(packet) >= 4 {
		d.SourcePort, d.DestinationPort = int(binary.BigEndian.Uint16(packet)), int(binary.BigEndian.Uint16(packet[2:]))
	}
	return d, d.PodID != uuid.Nil
}
