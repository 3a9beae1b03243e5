// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"husk/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone has two pods, a service, and a headless service of both pods.
func zone() service.Zone {
	return service.Zone{
		NetworkID: uuid.UUID{1}, Version: "1", Suffix: "husk.internal", Ranges: []string{"100.64.0.0/22", "100.127.0.0/16", "127.0.0.1/32"}, Forward: true,
		Pods: []service.ZonePod{{Name: "db-1", Address: "100.64.0.2"}, {Name: "db-2", Address: "100.64.0.3"}},
		Services: []service.ZoneService{
			{Name: "db", Ports: []service.ZonePort{{Name: "sql", Protocol: service.TCP, Port: 5432}}, Pods: []string{"db-1", "db-2"}},
			{Name: "idle"},
			{Name: "web", Address: "100.127.0.1", Ports: []service.ZonePort{{Name: "http", Protocol: service.TCP, Port: 80}, {Name: "dns", Protocol: service.UDP, Port: 53}}},
		},
	}
}

// running is a server at a port of the loopback interface.
type running struct {
	*Server

	t       testing.TB
	address string
}

func start(t testing.TB, z *service.Zone, cfg Config) running {
	t.Helper()
	cfg.Log, cfg.Metrics = slog.New(slog.DiscardHandler), NewMetrics()
	s := New(cfg)
	if z != nil {
		if err := s.Replace(*z); err != nil {
			t.Fatal(err)
		}
	}
	packets, streams := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, packets, streams) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return running{s, t, packets.LocalAddr().String()}
}

// listen returns a UDP socket and a TCP listener with the same port.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp4", "127.0.0.1:0") //nolint:noctx // returns at once
		if err != nil {
			t.Fatal(err)
		}
		streams, err := net.Listen("tcp4", packets.LocalAddr().String()) //nolint:noctx // returns at once
		if err == nil {
			return packets, streams
		}
		_ = packets.Close()
	}
	t.Fatal("no port is free for both protocols")
	return nil, nil
}

// ask sends a query, and returns the response.
func (r running) ask(network, name string, kind uint16, change ...func(*dns.Msg)) *dns.Msg {
	r.t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	for _, c := range change {
		c(q)
	}
	m, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second, UDPSize: dns.MaxMsgSize}).Exchange(q, r.address)
	if err != nil {
		r.t.Fatalf("%s %s: %v", name, dns.TypeToString[kind], err)
	}
	m.Compress = true // so that Len is what was received
	return m
}

// records writes the records of a section, sorted.
func records(section []dns.RR) string {
	texts := []string{}
	for _, r := range section {
		if r.Header().Rrtype != dns.TypeOPT {
			texts = append(texts, strings.Join(strings.Fields(r.String()), " "))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

func TestAnswersFromTheZone(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{})
	soa := fmt.Sprintf("husk.internal. 5 IN SOA husk.internal. hostmaster.husk.internal. %d 3600 600 86400 5", serialOf("1"))
	for _, c := range []struct {
		name   string
		kind   uint16
		rcode  int
		answer string // if it is empty, the section of authorities has the SOA record
	}{
		{"web.husk.internal", dns.TypeA, 0, "web.husk.internal. 5 IN A 100.127.0.1"},
		{"web.husk.internal", dns.TypeANY, 0, "web.husk.internal. 5 IN A 100.127.0.1"},
		{"web.husk.internal", dns.TypeAAAA, 0, ""},
		{"web.husk.internal", dns.TypeTXT, 0, ""},
		{"db-1.pods.husk.internal", dns.TypeA, 0, "db-1.pods.husk.internal. 5 IN A 100.64.0.2"},
		{"db.husk.internal", dns.TypeA, 0, "db.husk.internal. 5 IN A 100.64.0.2; db.husk.internal. 5 IN A 100.64.0.3"},
		{"idle.husk.internal", dns.TypeA, 0, ""},
		{"_http._tcp.web.husk.internal", dns.TypeSRV, 0, "_http._tcp.web.husk.internal. 5 IN SRV 0 1 80 web.husk.internal."},
		{"_dns._udp.web.husk.internal", dns.TypeSRV, 0, "_dns._udp.web.husk.internal. 5 IN SRV 0 1 53 web.husk.internal."},
		{"_sql._tcp.db.husk.internal", dns.TypeSRV, 0, "_sql._tcp.db.husk.internal. 5 IN SRV 0 1 5432 db-1.pods.husk.internal.; _sql._tcp.db.husk.internal. 5 IN SRV 0 1 5432 db-2.pods.husk.internal."},
		{"_sql._udp.db.husk.internal", dns.TypeSRV, dns.RcodeNameError, ""},
		{"_tcp.db.husk.internal", dns.TypeA, 0, ""}, // names are below it
		{"pods.husk.internal", dns.TypeA, 0, ""},
		{"husk.internal", dns.TypeSOA, 0, soa},
		{"husk.internal", dns.TypeNS, 0, "husk.internal. 5 IN NS husk.internal."},
		{"other.husk.internal", dns.TypeA, dns.RcodeNameError, ""},
		{"db-1.husk.internal", dns.TypeA, dns.RcodeNameError, ""},
		{"a.b.c.husk.internal", dns.TypeA, dns.RcodeNameError, ""},
		{"2.0.64.100.in-addr.arpa", dns.TypePTR, 0, "2.0.64.100.in-addr.arpa. 5 IN PTR db-1.pods.husk.internal."},
		{"1.0.127.100.in-addr.arpa", dns.TypePTR, 0, "1.0.127.100.in-addr.arpa. 5 IN PTR web.husk.internal."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := s.ask(network, c.name, c.kind)
			if m.Rcode != c.rcode || records(m.Answer) != c.answer || !m.Authoritative || m.Truncated {
				t.Errorf("%s %s over %s: %s %q, want %s %q", c.name, dns.TypeToString[c.kind], network, dns.RcodeToString[m.Rcode], records(m.Answer), dns.RcodeToString[c.rcode], c.answer)
			}
			if wanted := map[bool]string{true: soa}[c.answer == ""]; records(m.Ns) != wanted {
				t.Errorf("%s %s over %s: the authorities are %q, want %q", c.name, dns.TypeToString[c.kind], network, records(m.Ns), wanted)
			}
		}
	}
	for name, rcode := range map[string]int{"9.0.64.100.in-addr.arpa": dns.RcodeNameError, "2.0.64.100.in-addr.arpa": dns.RcodeSuccess} { // no such address, and no such record
		m := s.ask("udp", name, map[int]uint16{dns.RcodeNameError: dns.TypePTR, dns.RcodeSuccess: dns.TypeA}[rcode])
		if m.Rcode != rcode || len(m.Answer) != 0 || len(m.Ns) != 1 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if got := records(s.ask("udp", "_sql._tcp.db.husk.internal", dns.TypeSRV).Extra); got != "db-1.pods.husk.internal. 5 IN A 100.64.0.2; db-2.pods.husk.internal. 5 IN A 100.64.0.3" {
		t.Errorf("the addresses that come with SRV records are %q", got)
	}
}

// Some clients choose the case of letters at random, and accept only a response that repeats it (draft-vixie-dnsext-dns0x20).
func TestTheCaseOfLettersIsKeptAndDoesNotMatter(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{})
	for _, name := range []string{"wEb.HuSk.iNtErNaL.", "DB-2.PODS.husk.internal.", "2.0.64.100.IN-addr.ARPA."} {
		kind := dns.TypeA
		if strings.HasPrefix(name, "2.") {
			kind = dns.TypePTR
		}
		m := s.ask("udp", name, kind)
		if m.Rcode != 0 || len(m.Answer) != 1 || m.Question[0].Name != name || m.Answer[0].Header().Name != name {
			t.Errorf("the response to %s is %v", name, m)
		}
	}
}

func TestAHeadlessServiceAnswersInAllOrders(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{})
	first := map[string]int{}
	for range 100 {
		a, ok := s.ask("udp", "db.husk.internal", dns.TypeA).Answer[0].(*dns.A)
		if !ok {
			t.Fatal("no address comes first")
		}
		first[a.A.String()]++
	}
	if len(first) != 2 || first["100.64.0.2"] < 20 || first["100.64.0.3"] < 20 {
		t.Errorf("first are %v", first)
	}
}

func TestWhatDoesNotFitIsTruncatedAndCompleteOverTCP(t *testing.T) {
	t.Parallel()
	z := zone()
	z.Pods, z.Services[0].Pods = nil, nil
	for i := range 300 {
		name := fmt.Sprintf("p%d", i)
		z.Pods = append(z.Pods, service.ZonePod{Name: name, Address: fmt.Sprintf("100.64.%d.%d", i/250, i%250+2)})
		z.Services[0].Pods = append(z.Services[0].Pods, name)
	}
	s := start(t, &z, Config{})
	edns := func(size uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, false) } }
	for _, c := range []struct {
		change func(*dns.Msg)
		most   int
	}{{func(*dns.Msg) {}, 512}, {edns(100), 512}, {edns(800), 800}, {edns(4096), 1232}} {
		m := s.ask("udp", "db.husk.internal", dns.TypeA, c.change)
		if n := m.Len(); !m.Truncated || n > c.most || n < c.most/2 {
			t.Errorf("the response has %d bytes, want up to %d, and TC is %v", n, c.most, m.Truncated)
		}
	}
	if m := s.ask("tcp", "db.husk.internal", dns.TypeA); m.Truncated || len(m.Answer) != 300 {
		t.Errorf("over TCP, there are %d addresses", len(m.Answer))
	}
	small := s.ask("udp", "web.husk.internal", dns.TypeA, edns(4096))
	if opt := small.IsEdns0(); opt == nil || opt.UDPSize() != maxUDP || small.Truncated {
		t.Errorf("the response to a query with EDNS is %v", small)
	}
	if s.ask("udp", "web.husk.internal", dns.TypeA).IsEdns0() != nil {
		t.Error("the response to a query without EDNS has it")
	}
}

func TestWhatIsNotAQueryIsRefused(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{})
	for want, change := range map[int]func(*dns.Msg){
		dns.RcodeBadVers:        func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) },
		dns.RcodeRefused:        func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		dns.RcodeNotImplemented: func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		dns.RcodeFormatError:    func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
	} {
		if m := s.ask("udp", "web.husk.internal", dns.TypeA, change); m.Rcode != want || len(m.Answer) != 0 {
			t.Errorf("the response is %v, want %s", m, dns.RcodeToString[want])
		}
	}
	if m := s.ask("tcp", "husk.internal", dns.TypeAXFR); m.Rcode != dns.RcodeRefused {
		t.Errorf("a transfer of the zone gets %v", m)
	}
	// A response gets no response.
	c, err := net.Dial("udp4", s.address) //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := new(dns.Msg).SetQuestion("web.husk.internal.", dns.TypeA)
	m.Response = true
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{raw, {}, {1, 2, 3}} {
		if _, err := c.Write(message); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("0123456789ab not a message")[:12]); err != nil { // its counts are wrong
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 512)
	if n, err := c.Read(got); err != nil || string(got[:2]) != "01" {
		t.Errorf("the first response has %d bytes and is for another message: %v", n, err)
	}
}

// upstream is a resolver that responds with one address, and counts.
type upstream struct {
	mu      sync.Mutex
	queries []*dns.Msg
	at      netip.AddrPort
}

func resolver(t testing.TB, respond func(q *dns.Msg) *dns.Msg) *upstream {
	t.Helper()
	u := &upstream{}
	packets, streams := listen(t)
	u.at = netip.MustParseAddrPort(packets.LocalAddr().String())
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.mu.Lock()
		u.queries = append(u.queries, q)
		u.mu.Unlock()
		if m := respond(q); m != nil {
			_ = w.WriteMsg(m)
		}
	})
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() { defer close(done); _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return u
}

func (u *upstream) asked() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queries)
}

func address(q *dns.Msg, n int) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	for i := range n {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, byte(i))})
	}
	return m
}

func TestOtherNamesAreForwardedToTheNextResolverThatAnswers(t *testing.T) {
	t.Parallel()
	silent := resolver(t, func(*dns.Msg) *dns.Msg { return nil })
	broken := resolver(t, func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
	liar := resolver(t, func(q *dns.Msg) *dns.Msg { m := address(q, 1); m.Question[0].Name = "other.example."; return m })
	good := resolver(t, func(q *dns.Msg) *dns.Msg {
		if strings.HasPrefix(strings.ToLower(q.Question[0].Name), "no.") {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		}
		return address(q, 1)
	})
	z := zone()
	s := start(t, &z, Config{Forwarder: NewForwarder([]netip.AddrPort{silent.at, broken.at, liar.at, good.at})})
	for _, network := range []string{"udp", "tcp"} {
		m := s.ask(network, "wWw.example.com", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, true) })
		if records(m.Answer) != "wWw.example.com. 60 IN A 192.0.2.0" || !m.RecursionAvailable || m.Authoritative || m.IsEdns0() == nil {
			t.Errorf("the response over %s is %v", network, m)
		}
	}
	if m := s.ask("udp", "no.example.com", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("the response about a name that does not exist is %v", m)
	}
	for name, u := range map[string]*upstream{"silent": silent, "broken": broken, "liar": liar, "good": good} {
		if u.asked() != 3 {
			t.Errorf("the %s resolver was asked %d times", name, u.asked())
		}
	}
	for _, q := range good.queries {
		if opt := q.IsEdns0(); opt == nil || len(opt.Option) != 0 || !q.RecursionDesired {
			t.Errorf("the resolver got %v", q)
		}
	}
	// Names of the zone never leave it.
	s.ask("udp", "secret.husk.internal", dns.TypeA)
	s.ask("udp", "9.0.64.100.in-addr.arpa", dns.TypePTR)
	if good.asked() != 3 {
		t.Error("a name of the zone was forwarded")
	}
}

func TestWithoutAnswersOfResolversTheServerHasFailed(t *testing.T) {
	t.Parallel()
	silent := resolver(t, func(*dns.Msg) *dns.Msg { return nil })
	large := resolver(t, func(q *dns.Msg) *dns.Msg { m := address(q, 200); m.Truncate(maxUDP); return m })
	z := zone()
	s := start(t, &z, Config{Forwarder: NewForwarder([]netip.AddrPort{silent.at})})
	if m := s.ask("udp", "example.com", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the response is %v", m)
	}
	// A truncated response stays truncated, and fits into what the client accepts.
	s = start(t, &z, Config{Forwarder: NewForwarder([]netip.AddrPort{large.at})})
	if m := s.ask("udp", "example.com", dns.TypeA); !m.Truncated || m.Len() > dns.MinMsgSize {
		t.Errorf("the response has %d bytes, and TC is %v", m.Len(), m.Truncated)
	}
}

func TestWithoutEgressOtherNamesAreRefused(t *testing.T) {
	t.Parallel()
	u := resolver(t, func(q *dns.Msg) *dns.Msg { return address(q, 1) })
	z := zone()
	z.Forward = false
	s := start(t, &z, Config{Forwarder: NewForwarder([]netip.AddrPort{u.at})})
	if m := s.ask("udp", "example.com", dns.TypeA); m.Rcode != dns.RcodeRefused || m.RecursionAvailable {
		t.Errorf("the response is %v", m)
	}
	if m := s.ask("udp", "web.husk.internal", dns.TypeA); m.Rcode != 0 || m.RecursionAvailable || len(m.Answer) != 1 {
		t.Errorf("the response about a service is %v", m)
	}
	if u.asked() != 0 {
		t.Error("the resolver was asked")
	}
}

// Slow resolvers do not stop answers from the zone, and a network cannot have more than its share of queries under way.
func TestSlowResolversDelayNobodyElse(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{})
	u := resolver(t, func(q *dns.Msg) *dns.Msg { <-blocked; return address(q, 1) })
	z := zone()
	s := start(t, &z, Config{Forwarder: NewForwarder([]netip.AddrPort{u.at}), QueriesPerSecond: 10_000})
	t.Cleanup(func() { close(blocked) })
	c, err := net.Dial("udp4", s.address) //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := new(dns.Msg).SetQuestion("example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range maxNetworkForwards + 20 {
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		got := make([]byte, 512)
		var m dns.Msg
		if n, err := c.Read(got); err != nil || m.Unpack(got[:n]) != nil || m.Rcode != dns.RcodeServerFailure {
			t.Fatalf("the response to a query beyond the limit is %v: %v", m, err)
		}
	}
	if m := s.ask("udp", "web.husk.internal", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("the response about a service is %v", m)
	}
}

func TestOnlyTheNetworkIsAnswered(t *testing.T) {
	t.Parallel()
	z := zone()
	z.Ranges = z.Ranges[:2] // without the loopback interface
	s := start(t, &z, Config{})
	q := new(dns.Msg).SetQuestion("web.husk.internal.", dns.TypeA)
	if m, _, err := (&dns.Client{Timeout: 200 * time.Millisecond}).Exchange(q, s.address); err == nil {
		t.Errorf("a stranger gets %v", m)
	}
}

func TestAServerWithoutAZoneHasFailed(t *testing.T) {
	t.Parallel()
	s := start(t, nil, Config{})
	if m := s.ask("udp", "web.husk.internal", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the response is %v", m)
	}
	z := zone()
	if err := s.Replace(z); err != nil {
		t.Fatal(err)
	}
	if m := s.ask("udp", "web.husk.internal", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("the response is %v", m)
	}
	for what, spoil := range map[string]func(*service.Zone){
		"no suffix":          func(z *service.Zone) { z.Suffix = "" },
		"an address of text": func(z *service.Zone) { z.Pods[0].Address = "x" },
		"a name with a dot":  func(z *service.Zone) { z.Pods[0].Name = "a.b" },
		"a name with escape": func(z *service.Zone) { z.Services[0].Name = `a\.` },
		"an unknown pod":     func(z *service.Zone) { z.Services[0].Pods = []string{"db-3"} },
		"port 0":             func(z *service.Zone) { z.Services[2].Ports[0].Port = 0 },
		"a range of text":    func(z *service.Zone) { z.Ranges = []string{"x"} },
	} {
		bad := zone()
		spoil(&bad)
		if s.Replace(bad) == nil {
			t.Errorf("a zone with %s is accepted", what)
		}
	}
	if m := s.ask("udp", "web.husk.internal", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("after a zone was refused, the response is %v", m)
	}
}

func TestEachClientHasALimit(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{QueriesPerSecond: 5})
	c, err := net.Dial("udp4", s.address) //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := new(dns.Msg).SetQuestion("web.husk.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for got := make([]byte, 512); ; n++ {
		if err := c.SetReadDeadline(time.Now().Add(150 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(got); err != nil {
			break
		}
	}
	if n < 10 || n > 15 {
		t.Errorf("%d of 100 queries at once are answered, want about 10", n)
	}
}

func TestTheLimiterKeepsNoMoreThanItsClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, time.Now)
		client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
		for i := range maxClients {
			if !l.allow(client(i)) {
				t.Fatal("the first query of a client is refused")
			}
		}
		allowed := 0
		for i := range 1000 { // they share a bucket
			if l.allow(client(maxClients + i)) {
				allowed++
			}
		}
		if allowed != 20 || len(l.buckets) != maxClients {
			t.Errorf("%d queries of further clients are allowed, and there are %d buckets", allowed, len(l.buckets))
		}
		for range 30 {
			l.allow(client(0))
		}
		if l.allow(client(0)) {
			t.Error("a client that sends too much is not refused")
		}
		time.Sleep(time.Second)
		if !l.allow(client(0)) || !l.allow(client(maxClients)) {
			t.Error("after a second, a query is refused")
		}
		if len(l.buckets) > 3 {
			t.Errorf("%d buckets are left of clients that are quiet", len(l.buckets))
		}
	})
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	z := zone()
	s := start(t, &z, Config{})
	query, err := new(dns.Msg).SetQuestion("web.husk.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	answered := func(c net.Conn) bool {
		if _, err := c.Write(framed); err != nil {
			return false
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 512))
		return err == nil
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp4", s.address) //nolint:noctx // returns at once
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		return c
	}
	for range maxClientConnections {
		c := dial()
		for range 2 { // several queries on one connection
			if !answered(c) {
				t.Fatal("a query over TCP is not answered")
			}
		}
	}
	if answered(dial()) {
		t.Error("a connection beyond the limit is answered")
	}
	_ = open[0].Close()
	deadline := time.Now().Add(5 * time.Second)
	for !answered(dial()) {
		if time.Now().After(deadline) {
			t.Fatal("after a connection has ended, another one is not answered")
		}
	}
}
