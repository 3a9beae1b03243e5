// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"husk"
	"husk/dev/devtest"
	"husk/store"
)

// cutter is a proxy in front of Postgres. Once it is armed, it passes on one commit of a tenant, and closes the
// connection instead of passing on the response.
type cutter struct {
	t     *testing.T
	addr  string
	armed atomic.Bool
}

// newCutter starts a proxy, and returns it with the URLs that lead through it.
func newCutter(t *testing.T, to devtest.URL) (*cutter, devtest.URL) {
	t.Helper()
	lis, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, lis, err)
	t.Cleanup(func() { _ = lis.Close() })
	target, err := url.Parse(to(store.RoleOwner))
	must(t, target, err)
	c := &cutter{t: t, addr: target.Host}
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go c.relay(conn)
		}
	}()
	return c, func(role string) string {
		u, err := url.Parse(to(role))
		must(t, u, err)
		u.Host = lis.Addr().String()
		return u.String()
	}
}

func (c *cutter) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp4", c.addr)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer server.Close()
	var cut, tenant atomic.Bool
	go func() {
		defer server.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:n], []byte(store.RoleTenant)) { // the first message of a connection
				tenant.Store(true)
			}
			if tenant.Load() && bytes.Contains(buf[:n], []byte("commit")) && c.armed.CompareAndSwap(true, false) {
				cut.Store(true)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil && !errors.Is(err, io.EOF) || n == 0 || cut.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// The response to a commit is lost. The change has happened, so the caller gets its result, and not
// that the object has changed or does not exist.
func TestAChangeWhoseCommitIsNotConfirmedHasHappened(t *testing.T) {
	t.Parallel()
	direct := open(t)
	proxy, through := newCutter(t, direct.url)
	h := fixtureOf(t, openAt(t, through), through)
	tenant := h.tenant()
	volume, pod := h.volume(tenant), h.createPod(tenant, specOf(h.image(tenant)))
	account, err := h.as(tenant.ID).CreateServiceAccount(t.Context(), once(), "robot", husk.RoleViewer)
	must(t, account, err)
	for _, c := range []struct {
		what   string
		object any
		change func(t store.Tenant, r store.Request) error
	}{
		{"a role", account, func(tn store.Tenant, r store.Request) error {
			_, err := tn.SetServiceAccountRole(store.WithRequest(t.Context(), r), account.ID, husk.RoleOwner)
			return err
		}},
		{"a deletion of a volume", volume, func(tn store.Tenant, r store.Request) error {
			_, err := tn.DeleteVolume(store.WithRequest(t.Context(), r), volume.ID)
			return err
		}},
		{"a deletion of a pod, without If-Match", nil, func(tn store.Tenant, r store.Request) error {
			_, err := tn.DeletePod(store.WithRequest(t.Context(), r), pod.ID)
			return err
		}},
	} {
		r := store.Request{ID: "test", Operation: "Change", Changes: true}
		if c.object != nil {
			r.IfMatch = husk.ETag(c.object)
		}
		proxy.armed.Store(true)
		if err := c.change(h.as(tenant.ID), r); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if proxy.armed.Load() {
			t.Fatalf("%s: the proxy has seen no commit", c.what)
		}
	}
}
