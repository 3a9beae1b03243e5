// SPDX-License-Identifier: Apache-2.0

// Package ws has both ends of a session over a WebSocket.
package ws

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"husk/session"
)

// pingEvery keeps proxies from closing a quiet session.
const pingEvery = 20 * time.Second

// closeWait bounds how long the peer may take to acknowledge the end of the session.
const closeWait = 2 * time.Second

// Conn is one end of a session.
type Conn struct {
	c      *websocket.Conn
	ctx    context.Context //nolint:containedctx // the connection's own life, which Close ends
	cancel context.CancelFunc
	in     []byte
	pool   sync.Pool
	pings  sync.WaitGroup
}

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool {
	return r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// Bearer finds the token that a browser sends among the subprotocols.
func Bearer(r *http.Request) (string, bool) {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(name), session.BearerPrefix); ok {
				return token, true
			}
		}
	}
	return "", false
}

// Accept responds to a request for a WebSocket. The caller has checked the origin of the request.
func Accept(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{session.Protocol}, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// Answer is the response to a request for a WebSocket.
type Answer struct {
	Status int
	Header http.Header
	TLS    *tls.ConnectionState
	Body   []byte // of a refusal
}

// Dial opens a session. The Answer is nil if the server did not respond.
func Dial(ctx context.Context, client *http.Client, url string, header http.Header) (*Conn, *Answer, error) {
	asking := &asker{next: client.Transport}
	if asking.next == nil {
		asking.next = http.DefaultTransport
	}
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{ //nolint:bodyclose // asker has read it, or it has become the connection
		HTTPClient: &http.Client{Transport: asking, CheckRedirect: refuseRedirect}, HTTPHeader: header, Subprotocols: []string{session.Protocol},
	})
	if err != nil {
		return nil, asking.answer, err
	}
	return newConn(c), asking.answer, nil
}

// refuseRedirect makes a redirect the response. A peer must not be able to make the caller connect to another address.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// asker keeps the response. It reads the whole body of a refusal, which the library would truncate.
type asker struct {
	next   http.RoundTripper
	answer *Answer
}

// maxRefusal bounds the body of a refusal, in bytes.
const maxRefusal = 16 << 10

// RoundTrip implements http.RoundTripper.
func (a *asker) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	a.answer = &Answer{Status: resp.StatusCode, Header: resp.Header, TLS: resp.TLS}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	defer resp.Body.Close()
	if a.answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxRefusal)); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.answer.Body))
	return resp, nil
}

func newConn(c *websocket.Conn) *Conn {
	c.SetReadLimit(session.MaxPayload + 1)
	ctx, cancel := context.WithCancel(context.Background())
	conn := &Conn{c: c, ctx: ctx, cancel: cancel, in: make([]byte, session.MaxPayload+2)}
	conn.pool.New = func() any { b := make([]byte, 0, session.Chunk+1); return &b }
	return conn
}

// KeepAlive sends pings until the connection is closed, so that proxies do not close it. It does not close the connection of a peer that reads
// nothing for a while: the peer may have good reasons.
func (c *Conn) KeepAlive() {
	c.pings.Go(func() {
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-c.ctx.Done():
				return
			case <-tick.C:
			}
			if c.c.Ping(c.ctx) != nil {
				return
			}
		}
	})
}

// beatEvery is how often a browser gets a frame. Its scripts do not see pings.
const beatEvery = 10 * time.Second

// Beat sends output without bytes, at once and then regularly, until the connection is closed. A browser notices by it that the connection
// still works.
func (c *Conn) Beat() {
	c.pings.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for c.Send(session.Stdout, nil) == nil {
			select {
			case <-c.ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// Receive reads one frame.
func (c *Conn) Receive() (session.Frame, error) {
	kind, r, err := c.c.Reader(c.ctx)
	if err != nil {
		return session.Frame{}, err
	}
	if kind != websocket.MessageBinary {
		return session.Frame{}, errors.New("session: a text message; frames are binary")
	}
	n, err := io.ReadFull(r, c.in)
	if err == nil {
		return session.Frame{}, session.ErrTooLarge
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return session.Frame{}, err
	}
	return session.Parse(c.in[:n])
}

// Send writes one frame.
func (c *Conn) Send(kind session.Kind, payload []byte) error {
	if len(payload) > session.MaxPayload {
		return session.ErrTooLarge
	}
	b, ok := c.pool.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	defer c.pool.Put(b)
	*b = append(append((*b)[:0], byte(kind)), payload...)
	if err := c.c.Write(c.ctx, websocket.MessageBinary, *b); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return nil
}

// End closes the connection after everything that was sent has arrived.
func (c *Conn) End() error {
	ended := make(chan error, 1)
	go func() { ended <- c.c.Close(websocket.StatusNormalClosure, "") }()
	select {
	case err := <-ended:
		return errors.Join(err, c.Close())
	case <-time.After(closeWait):
		return errors.Join(c.Close(), <-ended)
	}
}

// Close cuts the connection.
func (c *Conn) Close() error {
	c.cancel()
	err := c.c.CloseNow()
	c.pings.Wait()
	if errors.Is(err, net.ErrClosed) { // closed a second time
		return nil
	}
	return err
}
