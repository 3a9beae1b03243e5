// Package ws is a session over a WebSocket, both ends of it.
package ws

import (
	"context"
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

// closeWait is how long the other end may take to say goodbye.
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

// IsUpgrade tells whether a request asks for a WebSocket.
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

// Accept answers a request for a WebSocket. Whoever calls it has looked at where the request comes from.
func Accept(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{session.Protocol}, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// Dial opens a session. The response is there also when the other side refuses, with its body.
func Dial(ctx context.Context, client *http.Client, url string, header http.Header) (*Conn, *http.Response, error) {
	refused := &refusal{next: client.Transport}
	if refused.next == nil {
		refused.next = http.DefaultTransport
	}
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: refused}, HTTPHeader: header, Subprotocols: []string{session.Protocol},
	})
	if err != nil {
		if resp != nil && refused.body != nil {
			resp.Body = io.NopCloser(strings.NewReader(string(refused.body)))
		}
		return nil, resp, err
	}
	return newConn(c), resp, nil
}

// refusal keeps the body of an answer that is no WebSocket: the library would cut it.
type refusal struct {
	next http.RoundTripper
	body []byte
}

// maxRefusal bounds what is read of it, in bytes.
const maxRefusal = 16 << 10

// RoundTrip implements http.RoundTripper.
func (r *refusal) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, err
	}
	defer resp.Body.Close()
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxRefusal)); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(strings.NewReader(string(r.body)))
	return resp, nil
}

func newConn(c *websocket.Conn) *Conn {
	c.SetReadLimit(session.MaxPayload + 1)
	ctx, cancel := context.WithCancel(context.Background())
	conn := &Conn{c: c, ctx: ctx, cancel: cancel, in: make([]byte, session.MaxPayload+2)}
	conn.pool.New = func() any { b := make([]byte, 0, session.Chunk+1); return &b }
	return conn
}

// KeepAlive sends pings until the connection is closed, so that whatever stands in between takes it for alive. It does not judge: a peer
// that reads nothing for a while may have good reasons.
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

// End closes the connection in order: what was sent arrives.
func (c *Conn) End() error {
	ended := make(chan error, 1)
	go func() { ended <- c.c.Close(websocket.StatusNormalClosure, "") }()
	select {
	case err := <-ended:
		return errors.Join(err, c.Close())
	case <-time.After(closeWait):
		err := c.Close()
		<-ended
		return err
	}
}

// Close cuts the connection.
func (c *Conn) Close() error {
	c.cancel()
	err := c.c.CloseNow()
	c.pings.Wait()
	if errors.Is(err, net.ErrClosed) { // for the second time
		return nil
	}
	return err
}
