// SPDX-License-Identifier: Apache-2.0

package names

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	// ttl is for how many seconds clients may keep an answer, also one that says that a name does not exist.
	ttl = 5
	// maxUDP is the largest response over UDP that is not fragmented anywhere, in bytes (RFC 9715).
	maxUDP = 1232
	// maxAddresses is how many addresses an answer has at most. A message over TCP has at most 64 KiB.
	maxAddresses = 1000
)

// answer answers a query from the zone. It returns nil if the name is not in the zone.
func (c *content) answer(q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	name := dns.CanonicalName(question.Name)
	if at, ok := reverseAddress(name); ok && c.owns(at) {
		return c.pointer(q, at)
	}
	if name != c.suffix && !strings.HasSuffix(name, "."+c.suffix) {
		return nil
	}
	m := reply(q)
	m.Authoritative = true
	o, exists := c.owners[name]
	switch {
	case !exists:
		m.Rcode = dns.RcodeNameError
	case question.Qtype == dns.TypeSOA && name == c.suffix:
		m.Answer = []dns.RR{c.soa(question.Name)}
	case question.Qtype == dns.TypeNS && name == c.suffix:
		m.Answer = []dns.RR{&dns.NS{Hdr: header(question.Name, dns.TypeNS), Ns: c.suffix}}
	case question.Qtype == dns.TypeA, question.Qtype == dns.TypeAAAA, question.Qtype == dns.TypeANY:
		m.Answer = addresses(question.Name, o.addresses, question.Qtype)
	case question.Qtype == dns.TypeSRV:
		for _, t := range shuffled(o.services) {
			m.Answer = append(m.Answer, &dns.SRV{Hdr: header(question.Name, dns.TypeSRV), Weight: 1, Port: t.port, Target: t.name})
			m.Extra = append(m.Extra, addresses(t.name, t.addresses, dns.TypeANY)...)
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{c.soa(c.suffix)}
	}
	return m
}

// owns reports whether an address belongs to the network, so that nobody else knows its name.
func (c *content) owns(at netip.Addr) bool {
	return slices.ContainsFunc(c.ranges, func(r netip.Prefix) bool { return r.Contains(at) })
}

func (c *content) pointer(q *dns.Msg, at netip.Addr) *dns.Msg {
	question := q.Question[0]
	m := reply(q)
	m.Authoritative = true
	name, exists := c.reverse[at]
	switch {
	case !exists:
		m.Rcode = dns.RcodeNameError
	case question.Qtype == dns.TypePTR || question.Qtype == dns.TypeANY:
		m.Answer = []dns.RR{&dns.PTR{Hdr: header(question.Name, dns.TypePTR), Ptr: name}}
	}
	if len(m.Answer) == 0 { // each address is a zone of its own
		m.Ns = []dns.RR{c.soa(dns.CanonicalName(question.Name))}
	}
	return m
}

func (c *content) soa(name string) *dns.SOA {
	return &dns.SOA{Hdr: header(name, dns.TypeSOA), Ns: c.suffix, Mbox: "hostmaster." + c.suffix, Serial: c.serial, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl}
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// addresses returns the records of these addresses, in random order, if the type selects them.
func addresses(name string, all []netip.Addr, kind uint16) []dns.RR {
	var records []dns.RR
	for _, at := range shuffled(all) {
		switch {
		case at.Is4() && kind != dns.TypeAAAA:
			records = append(records, &dns.A{Hdr: header(name, dns.TypeA), A: at.AsSlice()})
		case at.Is6() && kind != dns.TypeA:
			records = append(records, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: at.AsSlice()})
		}
	}
	return records
}

// shuffled returns the items in random order: at most as many as an answer can have.
func shuffled[T any](all []T) []T {
	if len(all) < 2 {
		return all
	}
	all = slices.Clone(all)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), maxAddresses)]
}

// reply begins the response to a query. The question keeps the letters as they are, which some clients check.
func reply(q *dns.Msg) *dns.Msg {
	m := &dns.Msg{}
	m.Id, m.Response, m.Opcode, m.RecursionDesired, m.CheckingDisabled = q.Id, true, q.Opcode, q.RecursionDesired, q.CheckingDisabled
	m.Question = q.Question
	return m
}

// refusal is a response without records.
func refusal(q *dns.Msg, rcode int) *dns.Msg {
	m := reply(q)
	m.Rcode = rcode
	return m
}

// finish packs a response in the size that the client accepts. One that does not fit has the flag TC: the client then asks over TCP.
func finish(q, m *dns.Msg, udp bool) ([]byte, error) {
	size := dns.MaxMsgSize
	m.Extra = slices.DeleteFunc(m.Extra, func(r dns.RR) bool { return r.Header().Rrtype == dns.TypeOPT })
	if udp {
		size = dns.MinMsgSize
	}
	if opt := q.IsEdns0(); opt != nil {
		if udp {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
		ours := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		ours.SetUDPSize(maxUDP)
		ours.SetDo(opt.Do())
		if m.Rcode > 0xF {
			ours.SetExtendedRcode(uint16(m.Rcode)) //nolint:gosec // extended codes have 12 bits
		}
		m.Extra = append(m.Extra, ours)
	}
	m.Truncate(size)
	return m.Pack()
}
