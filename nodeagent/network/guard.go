// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The node's own stack must not see what pods send. If Open vSwitch passes packets itself, it reads copies from the taps, and the kernel continues with
// the originals. So each tap has a chain at its ingress that drops everything, after the copy was made. In the kernel, Open vSwitch takes the packets
// after that chain, so there it has only the limits.

const guardTable = "husk-taps"

func guards() *nftables.Table {
	return &nftables.Table{Name: guardTable, Family: nftables.TableFamilyNetdev}
}

// toPod ends the name of the chain with what a pod receives.
const toPod = "-to-pod"

// burstShare is the part of a second's packets that may come at once.
const burstShare = 5

// guard adds the chains of a tap.
func (n *Network) guard(tap string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := c.AddTable(guards())
	ranges := n.inside[n.ports[tap].NetworkID]
	if ranges != nil {
		if err := setRanges(c, t, tap, ranges); err != nil {
			return fmt.Errorf("tell tap %s which addresses are inside: %w", tap, err)
		}
	}
	for name, hook := range map[string]*nftables.ChainHook{tap: nftables.ChainHookIngress, tap + toPod: nftables.ChainHookEgress} {
		policy := nftables.ChainPolicyAccept
		if n.userspace && hook == nftables.ChainHookIngress {
			policy = nftables.ChainPolicyDrop
		}
		chain := c.AddChain(&nftables.Chain{
			Table: t, Name: name, Device: tap, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy,
		})
		c.FlushChain(chain)
		if limit := n.cfg.Limits.PacketsPerSecond; limit > 0 && policy == nftables.ChainPolicyAccept {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
				&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(limit), Unit: expr.LimitTimeSecond, Burst: uint32(max(1, limit/burstShare)), Over: true}, //nolint:gosec // checked
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
		if ranges != nil {
			n.addOutside(c, chain, tap)
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("guard the node from tap %s: %w", tap, err)
	}
	return nil
}

// unguard removes the chains of a tap that is about to be removed, and what they count with. Older kernels remove the chains with the tap, newer ones
// keep them.
func unguard(tap string) error {
	t := guards()
	for _, remove := range []func(c *nftables.Conn){
		func(c *nftables.Conn) { c.DelChain(&nftables.Chain{Table: t, Name: tap}) },
		func(c *nftables.Conn) { c.DelChain(&nftables.Chain{Table: t, Name: tap + toPod}) },
		func(c *nftables.Conn) { c.DeleteObject(&nftables.CounterObj{Table: t, Name: tap}) },
		func(c *nftables.Conn) { c.DeleteObject(&nftables.CounterObj{Table: t, Name: tap + toPod}) },
		func(c *nftables.Conn) { c.DelSet(&nftables.Set{Table: t, Name: tap + families[0].name}) },
		func(c *nftables.Conn) { c.DelSet(&nftables.Set{Table: t, Name: tap + families[1].name}) },
	} {
		c, err := nftables.New()
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		c.AddTable(t)
		remove(c)
		if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove the guard of tap %s: %w", tap, err)
		}
	}
	return nil
}

// removeGuards removes the table of all chains.
func removeGuards() error {
	return removeTables(map[string][]nftables.TableFamily{guardTable: {nftables.TableFamilyNetdev}})
}

// removeTables removes tables. It adds each one first, because it is an error to remove one that does not exist.
func removeTables(tables map[string][]nftables.TableFamily) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for name, families := range tables {
		for _, family := range families {
			t := &nftables.Table{Name: name, Family: family}
			c.AddTable(t)
			c.DelTable(t)
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables tables: %w", err)
	}
	return nil
}

// missingGuards returns the taps of ports whose chains are not as guard made them.
func (n *Network) missingGuards() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	right := map[string]bool{}
	for _, chain := range chains {
		if chain.Table.Name != guardTable {
			continue
		}
		if n.userspace && chain.Hooknum != nil && *chain.Hooknum == *nftables.ChainHookIngress {
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil {
				return nil, fmt.Errorf("read nftables chain %s: %w", chain.Name, err)
			}
			if chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop || slices.ContainsFunc(rules, decides) {
				continue
			}
		}
		right[chain.Name] = true
	}
	cards := make([]string, 0, len(n.ports)+len(n.names))
	for tap := range n.ports {
		cards = append(cards, tap)
	}
	for network := range n.names {
		cards = append(cards, namesCard(network))
	}
	var missing []string
	for _, card := range cards {
		if exists(card) && (!right[card] || !right[card+toPod]) {
			missing = append(missing, card)
		}
	}
	return missing, nil
}

// decides reports whether a rule decides about packets, instead of counting them.
func decides(r *nftables.Rule) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		switch e.(type) {
		case *expr.Meta, *expr.Cmp, *expr.Payload, *expr.Lookup, *expr.Objref:
			return false
		default:
			return true
		}
	})
}

const (
	// checkEvery is how often the chains are compared even without a notification, because the kernel drops notifications when there are too many.
	checkEvery = 30 * time.Second
	// retryAfter is how long Watch waits before it tries again to restore something.
	retryAfter = 200 * time.Millisecond
	// settle is the time between two checks, so that a program that changes its own rules all the time does not occupy the agent.
	settle = 50 * time.Millisecond
)

// Watch restores the chains of taps when something else changes or removes them, such as "nft flush ruleset". The kernel notifies it of each change.
// It also restores flows that something else deletes. Watch runs until ctx ends.
func (n *Network) Watch(ctx context.Context) {
	var counting sync.WaitGroup
	counting.Go(func() { n.watchFlows(ctx) })
	for ctx.Err() == nil {
		if err := n.watchGuards(ctx); err != nil {
			n.log.Error("cannot watch nftables for changes; retrying", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	counting.Wait()
}

func (n *Network) watchGuards(ctx context.Context) error {
	changed, stop, err := subscribe()
	if err != nil {
		return err
	}
	defer stop()
	for {
		wait := checkEvery
		if err := n.check(); err != nil {
			n.log.Error("the node cannot be guarded from packets of pods; retrying", "error", err)
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(wait):
		}
	}
}

func (n *Network) check() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	missing, err := n.missingGuards()
	if err != nil {
		return err
	}
	for _, tap := range missing {
		n.guardsBroken.Store(true)
		if err := n.guard(tap); err != nil {
			return err
		}
		n.restored.Add(1)
		n.log.Warn("something else had changed nftables, and the node could see packets of a pod; it is guarded again", "tap", tap)
	}
	n.guardsBroken.Store(false)
	return nil
}

// Restored returns how many times something was restored that something else had changed.
func (n *Network) Restored() int64 { return n.restored.Load() }

// Broken reports whether something is changed and not restored yet.
func (n *Network) Broken() bool { return n.guardsBroken.Load() || n.flowsBroken.Load() }
