// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// upstreamTimeout is how long one upstream resolver may take. Clients usually wait for five seconds.
	upstreamTimeout = 1500 * time.Millisecond
	// maxForwards is how many queries of all networks of a node are forwarded at the same time, and maxNetworkForwards those of one network.
	maxForwards        = 512
	maxNetworkForwards = 64
)

// Forwarder sends queries for names outside of Husk to the operator's resolvers. All name servers of a node share one.
type Forwarder struct {
	upstreams []netip.AddrPort
	slots     chan struct{}
}

// NewForwarder returns a forwarder to these resolvers, which it asks in this order. Without resolvers, it refuses all queries.
func NewForwarder(upstreams []netip.AddrPort) *Forwarder {
	return &Forwarder{upstreams: upstreams, slots: make(chan struct{}, maxForwards)}
}

// ForwarderTo returns a forwarder to the usual port of these resolvers.
func ForwarderTo(resolvers []netip.Addr) *Forwarder {
	upstreams := make([]netip.AddrPort, len(resolvers))
	for i, r := range resolvers {
		upstreams[i] = netip.AddrPortFrom(r, 53)
	}
	return NewForwarder(upstreams)
}

// exchange sends a query to one resolver after the other, until one answers. It returns nil if none does.
func (f *Forwarder) exchange(ctx context.Context, q *dns.Msg, udp bool) *dns.Msg {
	select {
	case f.slots <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-f.slots }()
	out := &dns.Msg{Question: q.Question}
	out.Id, out.RecursionDesired, out.CheckingDisabled = dns.Id(), q.RecursionDesired, q.CheckingDisabled
	do := false
	if opt := q.IsEdns0(); opt != nil {
		do = opt.Do()
	}
	out.SetEdns0(maxUDP, do) // options of the client stay here
	network := "tcp"
	if udp {
		network = "udp"
	}
	var failed *dns.Msg
	for _, upstream := range f.upstreams {
		in := exchangeOnce(ctx, network, upstream, out)
		if in == nil {
			continue
		}
		if in.Rcode == dns.RcodeServerFailure || in.Rcode == dns.RcodeRefused {
			failed = in
			continue
		}
		return in
	}
	return failed
}

// exchangeOnce returns the response of a resolver to exactly this query, or nil. Each query has a socket of its own, so its port is random.
func exchangeOnce(ctx context.Context, network string, upstream netip.AddrPort, q *dns.Msg) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, network, upstream.String())
	if err != nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: c, UDPSize: maxUDP}
	defer conn.Close() //nolint:errcheck // nothing is lost
	if conn.WriteMsg(q) != nil {
		return nil
	}
	for {
		in, err := conn.ReadMsg()
		switch {
		case err != nil && ctx.Err() == nil && network == "udp" && in != nil: // not a message; somebody else may have sent it
			continue
		case err != nil:
			return nil
		case in.Response && in.Id == q.Id && sameQuestion(in, q):
			return in
		case network != "udp":
			return nil
		}
	}
}

func sameQuestion(a, b *dns.Msg) bool {
	return len(a.Question) == 1 && len(b.Question) == 1 && a.Question[0].Qtype == b.Question[0].Qtype && a.Question[0].Qclass == b.Question[0].Qclass &&
		strings.EqualFold(a.Question[0].Name, b.Question[0].Name)
}

// forwarded returns an upstream's response as the response to the client's query.
func forwarded(q, in *dns.Msg) *dns.Msg {
	m := reply(q)
	m.RecursionAvailable, m.AuthenticatedData, m.Truncated = true, in.AuthenticatedData, in.Truncated
	m.Rcode, m.Answer, m.Ns, m.Extra = in.Rcode&0xF, in.Answer, in.Ns, in.Extra
	return m
}
