// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"husk/dev/balance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that greets with its name and then repeats what it gets.
type echo struct {
	net.Listener
	dead   atomic.Bool
	busy   atomic.Bool // alive, but not ready
	health *httptest.Server
}

func newEcho(t *testing.T, name string) *echo {
	t.Helper()
	e := &echo{}
	var err error
	if e.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	e.health = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.dead.Load() || e.busy.Load() && r.URL.Path == "/ready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(func() { _ = e.Close(); e.health.Close() })
	go func() {
		for {
			conn, err := e.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = fmt.Fprintln(conn, name)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return e
}

func (e *echo) backend() balance.Backend {
	return balance.Backend{Addr: e.Addr().String(), Ready: e.health.URL + "/ready", Alive: e.health.URL + "/alive"}
}

// dial waits until a server answers through the balancer, and returns the connection and the server's name.
func dial(t *testing.T, addr string) (net.Conn, string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if name, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			return conn, name[:len(name)-1]
		}
		_ = conn.Close()
	}
	t.Fatal("no server answers")
	return nil, ""
}

func TestConnectionsOfADeadServerMoveToAnother(t *testing.T) {
	a, b := newEcho(t, "a"), newEcho(t, "b")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	balancer := balance.New(listener, a.backend(), b.backend())
	defer balancer.Close()
	addr := listener.Addr().String()
	seen := map[string]bool{}
	var ofA net.Conn
	for end := time.Now().Add(10 * time.Second); len(seen) < 2 && time.Now().Before(end); {
		conn, name := dial(t, addr)
		defer conn.Close()
		seen[name] = true
		if name == "a" {
			ofA = conn
		}
	}
	if ofA == nil || !seen["b"] {
		t.Fatalf("the servers take no turns: %v", seen)
	}
	a.busy.Store(true)
	await(t, "new connections avoid a server that is not ready", func() bool {
		for range 4 {
			conn, name := dial(t, addr)
			defer conn.Close()
			if name == "a" {
				return false
			}
		}
		return true
	})
	if _, err := ofA.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = ofA.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := ofA.Read(make([]byte, 1)); err != nil {
		t.Errorf("the connection to the server that is not ready was closed: %v", err)
	}
	a.dead.Store(true)
	if _, err := ofA.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection to the dead server was not closed: %v", err)
	}
	// If no server is ready, one that is alive still answers.
	b.busy.Store(true)
	conn, _ := dial(t, addr)
	defer conn.Close()
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not true that %s", what)
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func TestTheEndOfOneDirectionIsPassedOn(t *testing.T) {
	a := newEcho(t, "a")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	balancer := balance.New(listener, balance.Backend{Addr: a.Addr().String()})
	defer balancer.Close()
	conn, _ := dial(t, listener.Addr().String())
	defer conn.Close()
	if _, err := conn.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
}
