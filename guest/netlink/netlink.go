// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package netlink implements the few rtnetlink messages that a pod's machine needs to set up its
// interfaces.
package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn sends the few rtnetlink messages that a pod needs. A netlink library would be a quarter of
// husk-init.
type Conn struct {
	fd  int
	seq uint32
}

// Open opens a netlink socket.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (n *Conn) Close() { unix.Close(n.fd) }

// LinkUp sets an interface up and sets its MTU, unless that is 0.
func (n *Conn) LinkUp(index, mtu int) error {
	msg := bytesOf(&unix.IfInfomsg{Family: unix.AF_UNSPEC, Index: int32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP})
	if mtu > 0 {
		msg = attr(msg, unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, uint32(mtu)))
	}
	return n.do(unix.RTM_NEWLINK, 0, msg)
}

// AddAddress adds an address to an interface.
func (n *Conn) AddAddress(index int, p netip.Prefix) error {
	ip := p.Addr().AsSlice()
	msg := bytesOf(&unix.IfAddrmsg{Family: family(p.Addr()), Prefixlen: uint8(p.Bits()), Index: uint32(index)})
	msg = attr(msg, unix.IFA_LOCAL, ip)
	msg = attr(msg, unix.IFA_ADDRESS, ip)
	if p.Addr().Is6() {
		// The address belongs to this pod only, so it can be used at once.
		msg = attr(msg, unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, unix.IFA_F_NODAD))
	}
	return n.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg)
}

// MainTable is the table of routes for everything that no rule sends to another one.
const MainTable = unix.RT_TABLE_MAIN

// AddDefaultRoute adds a default route through a gateway that may be outside the interface's own
// subnet, to a table of at most 255.
func (n *Conn) AddDefaultRoute(index int, gateway netip.Addr, table int) error {
	msg := bytesOf(&unix.RtMsg{
		Family: family(gateway), Table: uint8(table), Protocol: unix.RTPROT_BOOT,
		Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST, Flags: unix.RTNH_F_ONLINK,
	})
	msg = attr(msg, unix.RTA_GATEWAY, gateway.AsSlice())
	msg = attr(msg, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	return n.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg)
}

// AddLinkRoute adds a route to a range that is on the link, which may be outside the interface's own subnet, to a table of at most 255.
func (n *Conn) AddLinkRoute(index int, to netip.Prefix, table int) error {
	msg := bytesOf(&unix.RtMsg{
		Family: family(to.Addr()), Dst_len: uint8(to.Bits()), Table: uint8(table), Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
	})
	msg = attr(msg, unix.RTA_DST, to.Addr().AsSlice())
	msg = attr(msg, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	return n.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, msg)
}

// AddSourceRule makes packets from an address use a table of routes, of at most 255. Its header is that of a route (linux/fib_rules.h).
func (n *Conn) AddSourceRule(from netip.Addr, table int) error {
	msg := bytesOf(&unix.RtMsg{Family: family(from), Src_len: uint8(from.BitLen()), Table: uint8(table), Type: unix.FR_ACT_TO_TBL})
	msg = attr(msg, unix.FRA_SRC, from.AsSlice())
	return n.do(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg)
}

// do sends one request and waits for the kernel's acknowledgement.
func (n *Conn) do(kind, flags uint16, body []byte) error {
	n.seq++
	head := unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(body)), Type: kind, Seq: n.seq,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags,
	}
	if err := unix.Sendto(n.fd, append(bytesOf(&head), body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 8192)
	size, _, err := unix.Recvfrom(n.fd, buf, 0)
	if err != nil {
		return err
	}
	if size < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("unexpected response from the kernel")
	}
	if errno := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}

func attr(msg []byte, kind uint16, value []byte) []byte {
	msg = binary.NativeEndian.AppendUint16(msg, uint16(unix.SizeofRtAttr+len(value)))
	msg = binary.NativeEndian.AppendUint16(msg, kind)
	msg = append(msg, value...)
	for len(msg)%unix.NLMSG_ALIGNTO != 0 {
		msg = append(msg, 0)
	}
	return msg
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// bytesOf copies a kernel structure as it is in memory.
func bytesOf[T any](v *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...) //nolint:gosec // v has no pointers
}
