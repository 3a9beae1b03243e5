// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// Whatever a pod sends, the server does not panic, a response is a response to that message, and it is not larger than the client accepts.
func FuzzQuery(f *testing.F) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeAXFR} {
		for _, name := range []string{"web.husk.internal.", "_sql._tcp.DB.husk.internal.", "2.0.64.100.in-addr.arpa.", "example.com.", "."} {
			m := new(dns.Msg).SetQuestion(name, kind)
			for _, edns := range []bool{false, true} {
				if edns {
					m.SetEdns0(4096, true)
				}
				raw, err := m.Pack()
				if err != nil {
					f.Fatal(err)
				}
				f.Add(raw)
			}
		}
	}
	f.Add([]byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01")) // a name that points to itself
	s := New(Config{Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler), QueriesPerSecond: 1 << 30})
	z := zone()
	z.Forward = false
	if err := s.Replace(z); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, udp := range []bool{true, false} {
			responses := 0
			s.query(context.Background(), raw, netip.MustParseAddr("100.64.0.2"), udp, func(response []byte) {
				responses++
				var m dns.Msg
				if err := m.Unpack(response); err != nil {
					t.Fatalf("the response is no message: %v", err)
				}
				if !m.Response || m.Id != uint16(raw[0])<<8|uint16(raw[1]) {
					t.Fatalf("the response is %v", m)
				}
				if udp && len(response) > maxUDP {
					t.Fatalf("the response has %d bytes", len(response))
				}
			}, func(f func()) { f() })
			if responses > 1 {
				t.Fatalf("there are %d responses", responses)
			}
		}
	})
}
