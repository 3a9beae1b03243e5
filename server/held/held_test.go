// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
)

func TestWhatATenantHoldsIsLimited(t *testing.T) {
	t.Parallel()
	h := New(Limits{Sessions: 2, Watches: 3}, prometheus.NewRegistry())
	one, other := uuid.New(), uuid.New()
	var leave func()
	for kind, limit := range map[Kind]int{Sessions: 2, Watches: 3, Requests: DefaultLimits.Requests, Logs: DefaultLimits.Logs} {
		code := husk.CodeConcurrencyLimit
		if kind == Sessions {
			code = husk.CodeSessionLimit
		}
		for range limit {
			var err error
			if leave, err = h.Take(one, kind); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.Take(one, kind); husk.CodeOf(err) != code {
			t.Errorf("%s above the limit: %v", kind, err)
		}
		if _, err := h.Take(other, kind); err != nil {
			t.Errorf("%s of another tenant: %v", kind, err)
		}
		leave()
		leave() // the second call has no effect
		if _, err := h.Take(one, kind); err != nil {
			t.Errorf("%s after one has ended: %v", kind, err)
		}
		if _, err := h.Take(one, kind); err == nil {
			t.Errorf("%s: ending one twice freed two", kind)
		}
	}
}

func TestASingleLargeRequestIsNotRefused(t *testing.T) {
	t.Parallel()
	h := New(Limits{Bytes: 10}, prometheus.NewRegistry())
	tenant := uuid.New()
	release, err := h.TakeMany(tenant, Bytes, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.TakeMany(tenant, Bytes, 1); husk.CodeOf(err) != husk.CodeConcurrencyLimit {
		t.Errorf("a byte above the limit: %v", err)
	}
	release()
	if len(h.held) != 0 {
		t.Errorf("%v is counted although nothing is held", h.held)
	}
}

func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		proxies []netip.Prefix
		limited bool
	}{{"a client", nil, true}, {"a proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, false}} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := Listen(inner, 2, c.proxies)
		t.Cleanup(func() { _ = l.Close() })
		accepted := make(chan net.Conn, 3)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- conn
			}
		}()
		dial := func() net.Conn {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		dial()
		dial()
		first := <-accepted
		<-accepted
		third := dial()
		if err := third.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = third.Read(make([]byte, 1))
		if closed := !isTimeout(err); closed != c.limited {
			t.Errorf("the third connection of %s: %v", c.name, err)
		}
		if !c.limited {
			continue
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		dial()
		if conn := <-accepted; conn == nil {
			t.Error("no connection is accepted after another has ended")
		}
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func TestStreamsOfATenantShareARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{StreamBytesPerSecond: 1000}, prometheus.NewRegistry())
		one, other := uuid.New(), uuid.New()
		began := time.Now()
		var running sync.WaitGroup
		for range 4 {
			wait, done := h.Pace(one)
			running.Go(func() {
				defer done()
				if err := wait(t.Context(), 1000); err != nil {
					t.Error(err)
				}
			})
		}
		wait, done := h.Pace(other)
		if err := wait(t.Context(), 10); err != nil || time.Since(began) > 0 {
			t.Errorf("another tenant waits %s: %v", time.Since(began), err)
		}
		done()
		running.Wait()
		if took := time.Since(began); took < 3800*time.Millisecond || took > 4*time.Second {
			t.Errorf("4000 bytes pass in %s at a rate of 1000 per second", took)
		}
		if len(h.paces) != 0 {
			t.Error("a rate is kept although there is no stream")
		}
	})
}

func TestLargeBodiesOfATenantTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{}, prometheus.NewRegistry())
		one, other := uuid.New(), uuid.New()
		begin := func(tenant uuid.UUID) func() {
			done, err := h.Turn(t.Context(), tenant)
			if err != nil {
				t.Fatal(err)
			}
			return done
		}
		first, second := begin(one), make(chan func())
		go func() { second <- begin(one) }()
		synctest.Wait()
		select {
		case <-second:
			t.Error("two requests of a tenant have the turn")
		default:
		}
		begin(other)()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Turn(ctx, one); err == nil {
			t.Error("a request that was given up gets the turn")
		}
		first()
		(<-second)()
		if len(h.turns) != 0 {
			t.Error("a turn is kept although nobody waits")
		}
	})
}
