// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"

	"husk/service"
)

// BenchmarkLatency measures queries over UDP, one after the other, next to a plain echo of the same bytes over UDP in the same run: most of the
// time is that of the sockets and of the scheduler.
func BenchmarkLatency(b *testing.B) {
	z := zone()
	for i := range 1000 {
		z.Pods = append(z.Pods, service.ZonePod{Name: fmt.Sprintf("pod-%d", i), Address: fmt.Sprintf("100.64.%d.%d", i/250, i%250+2)})
	}
	s := start(b, &z, Config{QueriesPerSecond: 1 << 30})
	echo, err := net.ListenPacket("udp4", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buffer := make([]byte, 1500); ; {
			n, from, err := echo.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := echo.WriteTo(buffer[:n], from); err != nil {
				return
			}
		}
	}()
	defer func() { _ = echo.Close(); <-done }()
	query := func(name string, kind uint16) []byte {
		raw, err := new(dns.Msg).SetQuestion(name, kind).SetEdns0(1232, false).Pack()
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
	asked := []struct {
		what, address string
		raw           []byte
		took          []time.Duration
	}{
		{"echo", echo.LocalAddr().String(), query("web.husk.internal.", dns.TypeA), nil},
		{"service", s.address, query("web.husk.internal.", dns.TypeA), nil},
		{"headless", s.address, query("db.husk.internal.", dns.TypeA), nil},
		{"srv", s.address, query("_sql._tcp.db.husk.internal.", dns.TypeSRV), nil},
		{"missing", s.address, query("missing.husk.internal.", dns.TypeA), nil},
	}
	for i := range asked {
		c, err := net.Dial("udp4", asked[i].address) //nolint:noctx // returns at once
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		once := func() time.Duration {
			began := time.Now()
			if _, err := c.Write(asked[i].raw); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1500)); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		for range 100 {
			once()
		}
		b.Run(asked[i].what, func(b *testing.B) {
			asked[i].took = asked[i].took[:0]
			for b.Loop() {
				asked[i].took = append(asked[i].took, once())
			}
			slices.Sort(asked[i].took)
			at := func(q float64) float64 {
				return float64(asked[i].took[int(q*float64(len(asked[i].took)-1))].Nanoseconds()) / 1000
			}
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.99), "p99-µs")
		})
	}
}

// BenchmarkReplace measures how long a new zone of a large network takes until it answers.
func BenchmarkReplace(b *testing.B) {
	pods := make([]service.Pod, 10_000)
	z := service.Zone{NetworkID: uuid.UUID{1}, Suffix: service.DefaultSuffix, Ranges: []string{"100.64.0.0/11"}}
	for i := range pods {
		z.Pods = append(z.Pods, service.ZonePod{Name: fmt.Sprintf("pod-%d", i), Address: fmt.Sprintf("100.64.%d.%d", i/250, i%250+2)})
	}
	s := New(Config{Metrics: NewMetrics()})
	for b.Loop() {
		if err := s.Replace(z); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(z.Bytes()), "zone-bytes")
}
