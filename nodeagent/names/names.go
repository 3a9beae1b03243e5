// SPDX-License-Identifier: Apache-2.0

// Package names answers the DNS queries of pods: one server for each network that has pods on the node.
//
//   - zone.go prepares a zone, which the API sends, for fast answers
//   - answer.go answers from the zone, forward.go asks the operator's resolvers for everything else, and limit.go limits each client
//   - names.go receives queries over UDP and TCP
//   - set.go keeps the servers of a node and their zones
//
// A server is no open resolver: it answers only addresses in the ranges of its network. It does not cache what it forwards.
package names

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"

	"husk/service"
)

// DefaultQueriesPerSecond is how many queries per second one client may send. Bursts may be twice as large.
const DefaultQueriesPerSecond = 500

const (
	maxConnections       = 128 // over TCP, of one server
	maxClientConnections = 8
	idleTimeout          = 5 * time.Second // of a connection over TCP
)

// Config is what a server needs.
type Config struct {
	Forwarder        *Forwarder
	Metrics          *Metrics
	QueriesPerSecond int // of one client; 0: DefaultQueriesPerSecond
	// Ranges is called with the ranges of pods and services that a network reaches, when its zone is known or has changed, and with none when it is
	// forgotten. nil: it is not called.
	Ranges func(network uuid.UUID, ranges []netip.Prefix)
	Log    *slog.Logger
}

// Server answers the queries of one network.
type Server struct {
	cfg     Config
	zone    atomic.Pointer[content] // nil: not known yet
	limit   *limiter
	forward chan struct{}

	mu          sync.Mutex
	connections map[netip.Addr]int
	connected   int
}

// New returns a server that does not know its zone yet. Until Replace is called, it answers that it has failed, so that clients retry.
func New(cfg Config) *Server {
	if cfg.QueriesPerSecond == 0 {
		cfg.QueriesPerSecond = DefaultQueriesPerSecond
	}
	return &Server{cfg: cfg, limit: newLimiter(cfg.QueriesPerSecond, time.Now), forward: make(chan struct{}, maxNetworkForwards), connections: map[netip.Addr]int{}}
}

// Replace replaces the zone. Queries are answered from the old zone or from the new one, and never from parts of both.
func (s *Server) Replace(z service.Zone) error {
	c, err := compile(z)
	if err != nil {
		return err
	}
	s.zone.Store(c)
	return nil
}

// Serve answers queries until ctx ends. It closes both.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _, _ = packets.Close(), streams.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	both, cancel := context.WithCancel(ctx) // when one ends, the other one ends too
	defer cancel()
	failed := make(chan error, 2)
	serving.Go(func() { failed <- s.servePackets(both, packets, &serving) })
	serving.Go(func() { failed <- s.serveStreams(both, streams, &serving) })
	err := <-failed
	_, _ = packets.Close(), streams.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) servePackets(ctx context.Context, packets net.PacketConn, serving *sync.WaitGroup) error {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			rest(ctx) // such as an ICMP error that an earlier response has caused, or an interface that is down
			continue
		}
		client := addressOf(from)
		s.query(ctx, buffer[:n], client, true, func(response []byte) { _, _ = packets.WriteTo(response, from) }, serving.Go)
	}
}

// rest keeps an error that lasts from taking a whole processor.
func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
}

func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	default:
		return netip.Addr{}
	}
}

// query answers one message. What takes long runs with later.
func (s *Server) query(ctx context.Context, raw []byte, client netip.Addr, udp bool, send func([]byte), later func(func())) {
	respond := func(result string, q, m *dns.Msg) {
		s.cfg.Metrics.count(result)
		response, err := finish(q, m, udp)
		if err != nil {
			s.cfg.Log.Warn("a response to a query for a name cannot be packed", "client", client, "error", err)
			if response, err = finish(q, refusal(q, dns.RcodeServerFailure), udp); err != nil {
				return
			}
		}
		send(response)
	}
	zone := s.zone.Load()
	if zone != nil && !zone.owns(client) {
		s.cfg.Metrics.count(stranger)
		return
	}
	if !s.limit.allow(client) {
		s.cfg.Metrics.count(limited)
		return
	}
	q, refused := parse(raw)
	switch {
	case q == nil:
		s.cfg.Metrics.count(malformed)
		return
	case refused != nil:
		respond(malformed, q, refused)
		return
	case zone == nil:
		respond(failed, q, refusal(q, dns.RcodeServerFailure))
		return
	}
	if m := zone.answer(q); m != nil {
		m.RecursionAvailable = zone.forward
		respond(answered, q, m)
		return
	}
	if !zone.forward || s.cfg.Forwarder == nil || len(s.cfg.Forwarder.upstreams) == 0 {
		respond(notAllowed, q, refusal(q, dns.RcodeRefused))
		return
	}
	select {
	case s.forward <- struct{}{}:
	default:
		respond(failed, q, refusal(q, dns.RcodeServerFailure))
		return
	}
	later(func() {
		defer func() { <-s.forward }()
		began := time.Now()
		in := s.cfg.Forwarder.exchange(ctx, q, udp)
		if in == nil {
			respond(failed, q, refusal(q, dns.RcodeServerFailure))
			return
		}
		s.cfg.Metrics.took(time.Since(began))
		respond(passedOn, q, forwarded(q, in))
	})
}

// parse reads a query. It returns nil for what gets no response, and a refusal for what is no query that the server answers.
func parse(raw []byte) (q, refused *dns.Msg) {
	if len(raw) < 12 || raw[2]&0x80 != 0 { // a response, to which a response would be a loop
		return nil, nil
	}
	header := &dns.Msg{}
	header.Id, header.Opcode, header.RecursionDesired = binary.BigEndian.Uint16(raw), int(raw[2]>>3&0xF), raw[2]&1 != 0
	if header.Opcode != dns.OpcodeQuery {
		return header, refusal(header, dns.RcodeNotImplemented)
	}
	q = &dns.Msg{}
	if q.Unpack(raw) != nil || len(q.Question) != 1 {
		return header, refusal(header, dns.RcodeFormatError)
	}
	opts := 0
	for _, r := range q.Extra {
		if r.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	opt := q.IsEdns0()
	switch kind := q.Question[0].Qtype; {
	case opts > 1:
		return header, refusal(header, dns.RcodeFormatError)
	case opt != nil && opt.Version() != 0:
		return q, refusal(q, dns.RcodeBadVers)
	case q.Question[0].Qclass != dns.ClassINET, kind == dns.TypeAXFR, kind == dns.TypeIXFR, kind == dns.TypeMAILA, kind == dns.TypeMAILB:
		return q, refusal(q, dns.RcodeRefused)
	}
	return q, nil
}

func (s *Server) serveStreams(ctx context.Context, streams net.Listener, serving *sync.WaitGroup) error {
	for {
		c, err := streams.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			rest(ctx) // such as too many open files
			continue
		}
		client := addressOf(c.RemoteAddr())
		if !s.enter(client) {
			_ = c.Close()
			continue
		}
		serving.Go(func() {
			defer s.leave(client)
			s.serveStream(ctx, c, client)
		})
	}
}

func (s *Server) enter(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected >= maxConnections || s.connections[client] >= maxClientConnections {
		return false
	}
	s.connected++
	s.connections[client]++
	return true
}

func (s *Server) leave(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected--
	if s.connections[client]--; s.connections[client] == 0 {
		delete(s.connections, client)
	}
}

// serveStream answers one query after the other.
func (s *Server) serveStream(ctx context.Context, c net.Conn, client netip.Addr) {
	defer c.Close() //nolint:errcheck // nothing is lost
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	var length [2]byte
	for {
		if c.SetDeadline(time.Now().Add(idleTimeout)) != nil {
			return
		}
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, raw); err != nil {
			return
		}
		sent := false
		s.query(ctx, raw, client, false, func(response []byte) {
			if c.SetDeadline(time.Now().Add(idleTimeout)) != nil || len(response) > dns.MaxMsgSize {
				return
			}
			framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(response)), uint16(len(response))) //nolint:gosec // checked above
			_, err := c.Write(append(framed, response...))
			sent = err == nil
		}, func(f func()) { f() })
		if !sent {
			return
		}
	}
}
