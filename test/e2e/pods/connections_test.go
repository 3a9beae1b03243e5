// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"husk/test/pace"
	"husk/test/stack"
)

// dialAPI opens a TCP connection to the API, on which a test can send any bytes.
func dialAPI(t *testing.T, s *stack.Stack) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.Env["HUSK_API"], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The server closes the connection of a client that does not finish its header after ten seconds.
// Other clients do not wait for it.
func TestASlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	s := stack.Get(t)
	const slow = 20
	var conns []net.Conn
	for range slow {
		c := dialAPI(t, s)
		if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: husk\r\nX-Slow: ")); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := s.Operator.Nodes.List(t.Context()); err != nil {
		t.Errorf("while slow clients are connected, another client gets %v", err)
	}
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(pace.Limit(30 * time.Second))); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a slow client is still connected")
		}
	}
}

func TestAHeaderWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	s := stack.Get(t)
	c := dialAPI(t, s)
	head := "GET /v1/pods HTTP/1.1\r\nHost: husk\r\nAuthorization: Bearer " + strings.Repeat(".", 1<<20) + "\r\n\r\n"
	go c.Write([]byte(head)) //nolint:errcheck // the server may close the connection in the meantime
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return // the server closed the connection
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte of header gets the response %s", resp.Status)
	}
}
