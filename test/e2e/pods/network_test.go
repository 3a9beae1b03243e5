// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"husk/openapi"
	"husk/test/pace"
	"husk/test/stack"
)

// A pod can connect to another pod in the same network, and to public addresses through its tenant's router. A pod cannot connect to another tenant's
// pod, to its routers, to services of the machine behind them, or to private addresses. Nobody outside can connect to a pod.
func TestNetworksAreIsolated(t *testing.T) {
	t.Parallel()
	startOutsideServer(t)
	one, other := stack.NewTenant(t), stack.NewTenant(t)
	serve := func(tn *stack.Tenant, image, name string) openapi.Pod {
		return tn.Create(t, name, func(s *openapi.PodSpec) {
			s.Containers = []openapi.Container{{Name: "main", Image: image, Command: &[]string{"httpd", "-f", "-p", "80", "-h", "/var/www"}}}
		})
	}
	image, otherImage := one.ImportImage(t, "busybox"), other.ImportImage(t, "busybox")
	neighbour, stranger := serve(one, image, "neighbour"), serve(other, otherImage, "stranger")
	neighbour, stranger = one.Wait(t, neighbour.ID, openapi.PodPhaseRunning), other.Wait(t, stranger.ID, openapi.PodPhaseRunning)
	for tn, pod := range map[*stack.Tenant]openapi.Pod{one: neighbour, other: stranger} {
		stack.Eventually(t, 20*time.Second, func() error { _, err := tn.Page(t.Context(), pod, 80, "/"); return err })
	}
	// The attempts run at the same time, because each one that must fail takes the whole timeout.
	// Those that must succeed may take longer: on a busy machine, TCP may have to send its first packet several times.
	timeout := int(math.Ceil(pace.Limit(4 * time.Second).Seconds()))
	patience := map[string]int{"neighbour": 10 * timeout, "public address": 10 * timeout}
	try := func(what, url string) string {
		timeout := max(timeout, patience[what])
		return fmt.Sprintf("{ timeout %d wget -q -O /dev/null %s && echo '%s: reached' || echo '%s: not reached'; } & ", timeout, url, what, what)
	}
	gateway := gatewayOf(t, *neighbour.Status.Address)
	const behind = "10.213.80.1:8099" // the machine is the router of the provider network
	lis, err := net.Listen("tcp4", behind)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	script := try("neighbour", "http://"+*neighbour.Status.Address+"/") +
		try("public address", "http://"+publicAddress+"/") +
		try("private address", "http://"+privateAddress+"/") +
		try("stranger", "http://"+*stranger.Status.Address+"/") +
		try("its router", "http://"+gateway+":8080/healthz") +
		try("the other router", "http://"+gatewayOf(t, *stranger.Status.Address)+":8080/healthz") +
		try("the machine behind", "http://"+behind+"/") +
		"wait; echo done; exec sleep 1000000"
	pod := one.Create(t, "prober", func(s *openapi.PodSpec) { s.Containers = []openapi.Container{stack.Shell(image, script)} })
	one.Wait(t, pod.ID, openapi.PodPhaseRunning)
	log := one.WaitForLog(t, pod.ID, "", "done\n")
	for _, want := range []string{
		"neighbour: reached", "public address: reached", "private address: not reached",
		"stranger: not reached", "its router: not reached", "the other router: not reached", "the machine behind: not reached",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("want %q in\n%s", want, log)
		}
	}
}

// gatewayOf returns the router's address in the network of a pod.
func gatewayOf(t *testing.T, address string) string {
	t.Helper()
	network, err := netip.MustParseAddr(address).Prefix(18) // HUSKD_NETWORK_PREFIX of the stack
	if err != nil {
		t.Fatal(err)
	}
	return network.Addr().Next().String()
}

// The addresses of the host outside the node. The first is in the node's network, and the node has
// routes through it to the others. The public one is from a
// block that nobody uses any more (RFC 7526).
const hostAddress, publicAddress, privateAddress = "192.0.2.2", "192.88.99.2", "10.66.0.2"

// startOutsideServer starts a web server on a host outside the node. The host is a network namespace
// with a veth pair and has no route to the pods' addresses.
func startOutsideServer(t *testing.T) {
	t.Helper()
	const name = "e2e-out"
	runtime.LockOSThread() // a namespace belongs to a thread; Go ends the locked thread with the test
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	away, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	lis, err := func() (net.Listener, error) {
		if err := netns.Set(home); err != nil {
			return nil, err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "far", PeerNamespace: netlink.NsFd(int(away))}
		if err := netlink.LinkAdd(veth); err != nil {
			return nil, fmt.Errorf("add the veth pair: %w", err)
		}
		if err := bringUp(name, "192.0.2.1/24"); err != nil {
			return nil, err
		}
		for _, a := range []string{publicAddress, privateAddress} {
			dst := &net.IPNet{IP: net.ParseIP(a), Mask: net.CIDRMask(32, 32)}
			if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(hostAddress)}); err != nil {
				return nil, fmt.Errorf("add the route to %s: %w", a, err)
			}
		}
		if err := netns.Set(away); err != nil {
			return nil, err
		}
		for _, a := range []string{hostAddress + "/24", publicAddress + "/32", privateAddress + "/32"} {
			if err := bringUp("far", a); err != nil {
				return nil, err
			}
		}
		return net.Listen("tcp4", "0.0.0.0:80")
	}()
	if e := netns.Set(home); e != nil || err != nil {
		t.Fatal(err, e)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "outside") })}
	go srv.Serve(lis) //nolint:errcheck // Shutdown ends it
	t.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		if link, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(link)
		}
		_ = away.Close()
		_ = home.Close()
	})
}

func bringUp(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}
