// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// checkEvery is how often the rules are compared even without a notification, because the kernel
	// drops notifications when there are too many.
	checkEvery = 30 * time.Second
	// retryAfter is how long Watch waits before it tries again to restore the rules.
	retryAfter = 200 * time.Millisecond
	// settle is the time between two checks, so that a program that changes its own rules all the time
	// does not make the agent read the rules of all pods each time.
	settle = 50 * time.Millisecond
)

// Watch restores Husk's rules when something else changes or removes them, such as "nft flush
// ruleset". The kernel notifies it of each change. Until the rules are back, the taps are down. Watch
// runs until ctx ends.
func (n *Network) Watch(ctx context.Context) error {
	changed, stop, err := subscribe()
	if err != nil {
		return err
	}
	defer stop()
	for {
		wait := checkEvery
		if err := n.check(); err != nil {
			n.log.Error("the network rules cannot be checked or restored; retrying", "error", err)
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

// subscribe returns a channel that gets a value after changes of any nftables rules.
func subscribe() (changed <-chan struct{}, stop func(), err error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, nil, fmt.Errorf("subscribe to changes of nftables: %w", err)
	}
	signals := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, _, err := socket.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) { // ENOBUFS: the kernel dropped notifications
				return
			}
			select {
			case signals <- struct{}{}:
			default:
			}
		}
	}()
	return signals, func() { socket.Close(); <-ended }, nil
}

// check compares the kernel's rules with those that were written, and restores them if they differ.
func (n *Network) check() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.written == (fingerprint{}) {
		return nil // the rules of a previous agent stay until this agent knows which pods run
	}
	own, err := ownNetworks()
	if err == nil {
		err = discardUnused(n.cfg.PodRange)
	}
	if err != nil {
		return err
	}
	now, _, err := readFingerprint(ourTables...)
	if err != nil {
		return err
	}
	if now == n.written && !n.broken.Load() {
		if slices.Equal(own, n.own) {
			return nil
		}
		return n.writeRules()
	}
	n.broken.Store(true)
	if err := n.setTaps(false); err != nil {
		return err
	}
	if err := n.writeRules(); err != nil {
		return err
	}
	if err := n.setTaps(true); err != nil {
		return err
	}
	n.broken.Store(false)
	n.restored.Add(1)
	n.log.Warn("something changed the network rules of the pods; restored them")
	return nil
}

// Restored returns how often the rules were restored.
func (n *Network) Restored() int64 { return n.restored.Load() }

// Broken reports whether the kernel's rules differ from those that were written. Until they are
// restored, the pods' interfaces are down.
func (n *Network) Broken() bool { return n.broken.Load() }

// fingerprint identifies the content of Husk's tables in the kernel, including the rules' handles,
// which the kernel never uses twice in a table.
type fingerprint [sha256.Size]byte

// readFingerprint returns the zero fingerprint if none of the tables exists.
func readFingerprint(tables ...string) (fingerprint, shape, error) {
	c, err := nftables.New()
	if err != nil {
		return fingerprint{}, nil, fmt.Errorf("open nftables: %w", err)
	}
	sum, is := sha256.New(), shape{}
	for _, name := range tables {
		for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev} {
			if err := addTable(c, sum, is, name, family); err != nil {
				return fingerprint{}, nil, fmt.Errorf("read nftables rules: %w", err)
			}
		}
	}
	if len(is) == 0 {
		return fingerprint{}, is, nil
	}
	return fingerprint(sum.Sum(nil)), is, nil
}

func addTable(c *nftables.Conn, sum hash.Hash, is shape, name string, family nftables.TableFamily) error {
	tables, err := c.ListTablesOfFamily(family)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	fmt.Fprintln(sum, name, family, tables[i].Flags)
	is.table(name, family, tables[i].Flags)
	chains, err := c.ListChainsOfTableFamily(family)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if chain.Table.Name != name {
			continue
		}
		policy := nftables.ChainPolicyAccept
		if chain.Policy != nil {
			policy = *chain.Policy
		}
		fmt.Fprintln(sum, chain.Name, chain.Type, *chain.Hooknum, *chain.Priority, chain.Device, policy)
		rules, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return err
		}
		is[is.chain(chain)] = len(rules)
		for _, r := range rules {
			handles := is.handles(chain.Table)
			is[handles] = max(is[handles], int(r.Handle)) //nolint:gosec // far below 2^63
			if err := addRule(sum, family, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func addRule(sum hash.Hash, family nftables.TableFamily, r *nftables.Rule) error {
	raw := binary.BigEndian.AppendUint64(nil, r.Handle)
	for _, e := range r.Exprs {
		marshaled, err := expr.Marshal(byte(family), e)
		if err != nil {
			return err
		}
		raw = append(raw, marshaled...)
	}
	_, err := sum.Write(raw)
	return err
}
