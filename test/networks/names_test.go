// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"

	"husk/nodeagent/names"
	agent "husk/nodeagent/network"
	"husk/server/network"
	"husk/service"
)

// TestPodsAskTheNameServerOfTheirNetwork connects the name servers of two networks on one node. Each answers only its own network, over UDP and TCP,
// on the node itself.
func TestPodsAskTheNameServerOfTheirNetwork(t *testing.T) {
	l := start(t, network.Limits{})
	a, b := l.tenant(), l.tenant()
	n := l.nodes[0]
	of := map[*tenant]*pod{a: a.pod(n, nil), b: b.pod(n, nil)}
	set, err := names.Open(t.TempDir(), names.Config{Forwarder: names.ForwarderTo(nil), Metrics: names.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	served := map[uuid.UUID]bool{}
	update := service.Update{}
	for tn, p := range of {
		served[p.port.NetworkID] = true
		update.Zones = append(update.Zones, service.Zone{
			NetworkID: p.port.NetworkID, Version: "1", Suffix: "husk.internal", Ranges: []string{tn.cidr.String()},
			Pods: []service.ZonePod{{Name: "db", Address: p.addr().String()}},
		})
	}
	must(t, set.Apply(update))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	set.Keep(ctx, served, inNode{n})
	ask := func(p *pod, over string) (answer string, took time.Duration, err error) {
		err = p.do(func() error {
			c := &dns.Client{Net: over, Timeout: patient}
			q := new(dns.Msg)
			q.SetQuestion("db.pods.husk.internal.", dns.TypeA)
			r, rtt, err := c.Exchange(q, netip.AddrPortFrom(agent.NamesAddress, 53).String())
			if err != nil {
				return err
			}
			if len(r.Answer) != 1 {
				return fmt.Errorf("the response is %v", r)
			}
			answer, took = r.Answer[0].(*dns.A).A.String(), rtt
			return nil
		})
		return answer, took, err
	}
	for _, p := range of {
		for _, over := range []string{"udp", "tcp"} {
			eventually(t, 5*time.Second, p.Name+" gets an answer over "+over, func() error {
				answer, took, err := ask(p, over)
				if err == nil && answer != p.addr().String() {
					err = fmt.Errorf("the answer is %s, want %s", answer, p.addr())
				}
				if err == nil {
					t.Logf("%s over %s in %s", answer, over, took)
				}
				return err
			})
		}
	}
	// A network without pods on the node has no name server there.
	delete(served, of[b].port.NetworkID)
	set.Keep(ctx, served, inNode{n})
	eventually(t, 5*time.Second, "the name server of a network that is not served ends", func() error {
		if _, _, err := ask(of[b], "tcp"); err == nil {
			return errors.New("it answers")
		}
		return nil
	})
	if _, _, err := ask(of[a], "udp"); err != nil {
		t.Errorf("the other network gets no answers any more: %v", err)
	}
}

// inNode connects name servers on a node, as its agent does.
type inNode struct{ *node }

func (n inNode) OpenNames(ctx context.Context, id uuid.UUID) (packets net.PacketConn, streams net.Listener, err error) {
	err = within(fmt.Sprintf("/proc/%d/ns/net", n.host.PID()), func() (err error) {
		packets, streams, err = n.net.OpenNames(ctx, id)
		return err
	})
	return packets, streams, err
}

func (n inNode) CloseNames(ctx context.Context, id uuid.UUID) error {
	return within(fmt.Sprintf("/proc/%d/ns/net", n.host.PID()), func() error { return n.net.CloseNames(ctx, id) })
}
