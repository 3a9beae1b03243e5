// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
)

// Stats is what a virtual machine has used since it was started, as libvirt and the node's kernel
// count it.
type Stats struct {
	CPU                time.Duration
	Steal              *time.Duration // nil if the kernel does not count it
	MachineBytes       *int64         // of the QEMU process on the node
	Receive, Transmit  Traffic        // from the guest's point of view
	ReadBytes, Reads   int64
	WriteBytes, Writes int64
}

// Traffic is one direction of a network interface.
type Traffic struct{ Bytes, Packets, Errors, Drops int64 }

// Stats returns the usage of every virtual machine on this libvirt in one call. A machine that is
// in an operation that cannot be interrupted does not delay the others; its statistics are
// incomplete then.
func (m *Manager) Stats(ctx context.Context) (map[uuid.UUID]Stats, error) {
	return call(ctx, m, callTimeout, func(c *libvirt.Connect) (map[uuid.UUID]Stats, error) {
		all, err := c.GetAllDomainStats(nil,
			libvirt.DOMAIN_STATS_CPU_TOTAL|libvirt.DOMAIN_STATS_BALLOON|libvirt.DOMAIN_STATS_VCPU|libvirt.DOMAIN_STATS_INTERFACE|libvirt.DOMAIN_STATS_BLOCK,
			libvirt.CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE|libvirt.CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
		if err != nil {
			return nil, fmt.Errorf("read the statistics of all domains: %w", err)
		}
		stats := make(map[uuid.UUID]Stats, len(all))
		for _, d := range all {
			raw, err := d.Domain.GetUUID()
			_ = d.Domain.Free() //nolint:errcheck // it only drops a reference
			if err != nil || len(raw) != len(uuid.UUID{}) || d.Cpu == nil || !d.Cpu.TimeSet {
				continue // it has ended in the meantime
			}
			stats[uuid.UUID(raw)] = statsOf(d)
		}
		return stats, nil
	})
}

// Paused returns the machines on this libvirt that are paused.
func (m *Manager) Paused(ctx context.Context) (map[uuid.UUID]bool, error) {
	return call(ctx, m, callTimeout, func(c *libvirt.Connect) (map[uuid.UUID]bool, error) {
		all, err := c.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_PAUSED)
		if err != nil {
			return nil, fmt.Errorf("list paused domains: %w", err)
		}
		paused := make(map[uuid.UUID]bool, len(all))
		for i := range all {
			raw, err := all[i].GetUUID()
			_ = all[i].Free() //nolint:errcheck // it only drops a reference
			if err == nil && len(raw) == len(uuid.UUID{}) {
				paused[uuid.UUID(raw)] = true
			}
		}
		return paused, nil
	})
}

func statsOf(d libvirt.DomainStats) Stats {
	s := Stats{CPU: time.Duration(number(d.Cpu.Time))}
	for _, v := range d.Vcpu {
		if v.DelaySet {
			sum := time.Duration(number(v.Delay))
			if s.Steal != nil {
				sum += *s.Steal
			}
			s.Steal = &sum
		}
	}
	if d.Balloon != nil && d.Balloon.RssSet {
		bytes := number(d.Balloon.Rss) << 10
		s.MachineBytes = &bytes
	}
	for _, n := range d.Net { // libvirt already swaps a tap's directions
		s.Receive.add(n.RxBytes, n.RxPkts, n.RxErrs, n.RxDrop)
		s.Transmit.add(n.TxBytes, n.TxPkts, n.TxErrs, n.TxDrop)
	}
	for _, b := range d.Block {
		s.ReadBytes, s.Reads = s.ReadBytes+number(b.RdBytes), s.Reads+number(b.RdReqs)
		s.WriteBytes, s.Writes = s.WriteBytes+number(b.WrBytes), s.Writes+number(b.WrReqs)
	}
	return s
}

func (t *Traffic) add(bytes, packets, errs, drops uint64) {
	t.Bytes, t.Packets, t.Errors, t.Drops = t.Bytes+number(bytes), t.Packets+number(packets), t.Errors+number(errs), t.Drops+number(drops)
}

// number limits a counter to the range of JSON's numbers.
func number(n uint64) int64 { return int64(min(n, 1<<53)) } //nolint:gosec // it fits now
