// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"

	"github.com/google/uuid"
)

// ovn-controller makes the flows of port security in tables of their own (OVN, controller/lflow.h): a flow for each port that marks a packet to be
// dropped, and others of higher priority that accept what has the port's addresses.

// The tables of port security, for what a port sends: of all packets, and of ARP and neighbor discovery.
const (
	portSecurity      = 73
	neighborsSecurity = 74
)

// logicalPort identifies a port in Open vSwitch's flows: by the number of its network, and by its own in that network.
type logicalPort struct {
	network uint64
	number  uint32
}

// Spoofed returns how many packets of each pod port security has dropped, because their source was not the pod's. Numbers begin at zero whenever
// ovn-controller makes the flows again. With an error, they are those of the last call.
func (n *Network) Spoofed(ctx context.Context) (map[uuid.UUID]int64, error) {
	all, err := n.readSpoofed(ctx)
	n.counting.Lock()
	defer n.counting.Unlock()
	if err == nil {
		n.spoofed = all
	}
	return maps.Clone(n.spoofed), err
}

func (n *Network) readSpoofed(ctx context.Context) (map[uuid.UUID]int64, error) {
	n.mu.Lock()
	pods := make(map[string]uuid.UUID, len(n.ports))
	for _, p := range n.ports {
		pods[string(p.MAC)] = p.PodID
	}
	n.mu.Unlock()
	if len(pods) == 0 {
		return nil, nil
	}
	owners, dropped := map[logicalPort]uuid.UUID{}, map[logicalPort]int64{}
	for _, table := range []byte{portSecurity, neighborsSecurity} {
		if err := n.readFlows(ctx, table, func(f flow) {
			port, sender, ok := f.of()
			if !ok {
				return
			}
			if pod, known := pods[string(sender)]; known {
				owners[port] = pod
			}
			if f.marks() {
				dropped[port] += f.packets
			}
		}); err != nil {
			return nil, err
		}
	}
	all := map[uuid.UUID]int64{}
	for port, packets := range dropped {
		if pod, known := owners[port]; known {
			all[pod] += packets
		}
	}
	return all, nil
}

// of returns the port from which a packet must have come to match the flow, and which sender it must name, if any.
func (f flow) of() (port logicalPort, sender []byte, ok bool) {
	// Headers of fields (OXM, and NXM of Open vSwitch: include/openvswitch/meta-flow.h).
	const metadata, inPort, source = 0x80000408, 0x00011c04, 0x80000806
	found := 0
	for rest := f.match; len(rest) >= 4; {
		header, size := binary.BigEndian.Uint32(rest), int(rest[3])
		if len(rest) < 4+size {
			break
		}
		value := rest[4 : 4+size]
		switch header {
		case metadata:
			port.network = binary.BigEndian.Uint64(value)
			found++
		case inPort:
			port.number = binary.BigEndian.Uint32(value)
			found++
		case source:
			sender = value
		}
		rest = rest[4+size:]
	}
	return port, sender, found == 2
}

// marks reports whether the flow marks packets to be dropped: NXAST_REG_LOAD of 1 to the bit MLF_CHECK_PORT_SEC of the register REG10 (OVN,
// include/ovn/logical-fields.h).
func (f flow) marks() bool {
	return bytes.Contains(f.instructions, []byte{0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 7, 12 << 6 >> 8, 12 << 6 & 0xff, 0, 1, 10 << 1, 4, 0, 0, 0, 0, 0, 0, 0, 1})
}
