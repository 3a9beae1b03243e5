// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"bufio"
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
	sick   atomic.Bool
	health *httptest.Server
}

func newEcho(t *testing.T, name string) *echo {
	t.Helper()
	e := &echo{}
	var err error
	if e.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	e.health = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if e.sick.Load() {
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
	return balance.Backend{Addr: e.Addr().String(), Health: e.health.URL}
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

func TestConnectionsOfASickServerMoveToAnother(t *testing.T) {
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
	a.sick.Store(true)
	_ = ofA.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := ofA.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection to the sick server was not closed: %v", err)
	}
	for range 3 {
		conn, name := dial(t, addr)
		defer conn.Close()
		if name != "b" {
			t.Errorf("a connection went to the sick server")
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
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
