// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func clusterConfig(t *testing.T) Config {
	t.Helper()
	cfg := fleetConfig(t)
	cfg.Fabric, cfg.Overlay, cfg.Provider = netip.MustParsePrefix("198.18.21.0/24"), netip.MustParsePrefix("198.18.22.0/24"), netip.Prefix{}
	cfg.Centrals = 3
	return cfg
}

// leader returns the name of the central host whose member leads a database.
func (f *fleet) leader(ctx context.Context, process, database string) (string, error) {
	var states []string
	for i := range f.cfg.Centrals {
		name := centralName(i)
		status, err := f.runOVN(ctx, "ovs-appctl", "-t", f.dir.join(centralDir(name), process+".ctl"), "--timeout=1", "cluster/status", database)
		if err == nil && strings.Contains(status, "\nRole: leader\n") {
			return name, nil
		}
		states = append(states, fmt.Sprintf("%s: %s %v", name, status, err))
	}
	return "", errors.New("no member leads: " + strings.Join(states, "\n"))
}

// write adds a switch to the northbound database, through the member that leads. With "sb", it returns when the southbound database has it, too.
func (f *fleet) write(ctx context.Context, name, wait string) error {
	var failures error
	for remote := range strings.SplitSeq(f.NorthboundRemote(), ",") {
		once, cancel := context.WithTimeout(ctx, time.Second)
		_, err := f.runOVN(once, "ovn-nbctl", "--db="+remote, "--wait="+wait, "--may-exist", "ls-add", name+wait)
		cancel()
		if err == nil {
			return nil
		}
		failures = errors.Join(failures, err)
	}
	return failures
}

func TestOVNsDatabasesSurviveTheLossOfAMember(t *testing.T) {
	cfg := clusterConfig(t)
	began := time.Now()
	f := startFleet(t, cfg)
	t.Logf("three central hosts and three nodes are up after %s", time.Since(began))
	a, b := pod{"a1", "02:00:00:00:03:01", "10.0.0.11", f.nodes[0]}, pod{"a2", "02:00:00:00:03:02", "10.0.0.12", f.nodes[1]}
	f.nbctl(t, "ls-add", "red")
	for _, p := range []pod{a, b} {
		f.nbctl(t, "lsp-add", "red", p.name, "--", "lsp-set-addresses", p.name, p.mac+" "+p.addr)
		f.plug(t, p, "")
	}
	eventually(t, "a pod reaches the other", func(context.Context) error { return a.ping(b.addr) })
	host := func(name string) *Host {
		for _, h := range f.Hosts() {
			if h.Name == name {
				return h
			}
		}
		t.Fatal("no host " + name)
		return nil
	}
	for i, fault := range []struct {
		what       string
		do, repair func(leader string) error
	}{
		{"hangs", func(l string) error { return f.Provoke(l+"-ovn-nb", FaultFreeze) }, func(l string) error { return f.Provoke(l+"-ovn-nb", FaultThaw) }},
		{"loses its power", func(l string) error { return host(l).Kill() }, func(l string) error { return host(l).Start(t.Context()) }},
		{"is frozen as a whole", func(l string) error { return host(l).Freeze() }, func(l string) error { return host(l).Thaw() }},
	} {
		leader, err := f.leader(t.Context(), "ovn-nb", "OVN_Northbound")
		if err != nil {
			t.Fatal(err)
		}
		got := a.pings(t, b.addr, 60, func() {
			if err := fault.do(leader); err != nil {
				t.Error(err)
			}
			since := time.Now()
			for _, wait := range []string{"none", "sb"} {
				eventually(t, "a write after the leader "+fault.what, func(ctx context.Context) error { return f.write(ctx, fmt.Sprintf("after%d", i), wait) })
				if took := time.Since(since); took > 15*time.Second {
					t.Errorf("the leader %s, and writes continued only after %s", fault.what, took)
				}
				t.Logf("the leader %s; a write continued after %s, waiting for %s", fault.what, time.Since(since).Round(10*time.Millisecond), wait)
			}
		})
		if got != "none of 60" {
			t.Errorf("the leader %s: %s", fault.what, got)
		}
		if err := fault.repair(leader); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the member follows again", func(ctx context.Context) error {
			status, err := f.runOVN(ctx, "ovs-appctl", "-t", f.dir.join(centralDir(leader), "ovn-nb.ctl"), "--timeout=1", "cluster/status", "OVN_Northbound")
			if err == nil && !strings.Contains(status, "\nRole: follower\n") && !strings.Contains(status, "\nRole: leader\n") {
				err = errors.New(status)
			}
			return err
		})
	}
	stop(t, f.Stack)

	// The members find each other again.
	again := &fleet{Stack: start(t, cfg)}
	if got := again.nbctl(t, "--bare", "--columns=name", "list", "logical_switch", "red"); got != "red" {
		t.Errorf("after a restart, the switch is %q", got)
	}
}
