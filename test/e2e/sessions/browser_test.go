// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"husk/session"
	"husk/test/stack"
)

// browserConn is a WebSocket as a browser opens it, with an Origin and with the token as a
// subprotocol. It does not use a WebSocket library, so that the test checks the bytes on the wire.
type browserConn struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialBrowser(t testing.TB, tn *stack.Tenant, path, origin, protocols string) (*browserConn, int, error) {
	t.Helper()
	api, err := url.Parse(tn.Env["HUSK_API"])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", api.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tn.Env["HUSK_API"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(nonce),
		"Origin": origin, "Sec-WebSocket-Protocol": protocols,
	} {
		req.Header.Set(name, value)
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp.StatusCode, errors.New(resp.Status)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != session.Protocol {
		t.Errorf("the server chose the subprotocol %q", got)
	}
	return &browserConn{conn, in}, resp.StatusCode, nil
}

// last reads frames until the final one and returns it.
func (w *browserConn) last() session.Frame {
	for {
		var head [2]byte
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return session.Frame{}
		}
		n := int(head[1] & 0x7f)
		if n == 126 {
			var more [2]byte
			if _, err := io.ReadFull(w.in, more[:]); err != nil {
				return session.Frame{}
			}
			n = int(binary.BigEndian.Uint16(more[:]))
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(w.in, body); err != nil || head[0]&0xf != 2 {
			return session.Frame{}
		}
		if f, err := session.Parse(body); err == nil && f.Kind.Final() {
			return f
		}
	}
}
