// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"husk"
	"husk/server/request"
	"husk/session"
	"husk/session/ws"
	"husk/store"
)

// opened is a session that the agent has started, before the client is connected to it.
type opened struct {
	sessions *Sessions
	ctx      context.Context //nolint:containedctx // the generated interface hands none on
	request  *request.Request
	pod      store.ID
	agent    *ws.Conn
	leave    func()
	refused  *husk.Error // set if the session was refused
}

// VisitExecInPodResponse implements the generated interface.
func (o *opened) VisitExecInPodResponse(w http.ResponseWriter) error { return o.serve(w) }

// VisitAttachToPodResponse implements the generated interface.
func (o *opened) VisitAttachToPodResponse(w http.ResponseWriter) error { return o.serve(w) }

// VisitOpenPodConsoleResponse implements the generated interface.
func (o *opened) VisitOpenPodConsoleResponse(w http.ResponseWriter) error { return o.serve(w) }

// VisitForwardPodPortResponse implements the generated interface.
func (o *opened) VisitForwardPodPortResponse(w http.ResponseWriter) error { return o.serve(w) }

// VisitCopyFromPodResponse implements the generated interface.
func (o *opened) VisitCopyFromPodResponse(w http.ResponseWriter) error { return o.serve(w) }

// VisitCopyToPodResponse implements the generated interface.
func (o *opened) VisitCopyToPodResponse(w http.ResponseWriter) error { return o.serve(w) }

// serve relays between client and agent until one of them ends the session, it is idle for too long, or the caller is no longer authorized.
func (o *opened) serve(w http.ResponseWriter) error {
	defer o.leave()
	client, err := ws.Accept(w, o.request.HTTP)
	if err != nil { // Accept has responded to the failed handshake
		o.sessions.log.Debug("a session was not opened", "request_id", o.request.ID, "error", err)
		if o.agent != nil {
			return o.agent.Close()
		}
		return nil
	}
	if o.refused != nil {
		o.finish(client, o.refused)
		return nil
	}
	began := time.Now()
	gauge := o.sessions.running.WithLabelValues(o.request.Operation)
	gauge.Inc()
	defer gauge.Dec()
	client.KeepAlive()
	if _, browser := ws.Bearer(o.request.HTTP); browser {
		client.Beat()
	}
	o.agent.KeepAlive()
	var moved atomic.Int64
	moved.Store(time.Now().UnixNano())
	ended, gone := make(chan error, 1), make(chan (<-chan struct{}), 1)
	wait, done := o.sessions.held.Pace(o.request.Caller.TenantID)
	defer done()
	go func() {
		left, err := session.Relay(paced{client, o.ctx, wait}, paced{o.agent, o.ctx, wait}, func() { moved.Store(time.Now().UnixNano()) })
		gone <- left
		ended <- err
	}()
	why := o.watch(ended, func() time.Duration { return time.Since(time.Unix(0, moved.Load())) })
	closed := o.agent.Close()
	if why == nil {
		select {
		case <-<-gone:
		case <-time.After(lastRead):
		case <-o.ctx.Done():
		}
	}
	o.finish(client, why)
	o.sessions.log.Info("session ended", "request_id", o.request.ID, "operation", o.request.Operation, "tenant", o.request.Caller.TenantID, "pod", o.pod,
		"took", time.Since(began), "reason", why, "closing", closed)
	return nil
}

// paced is a connection whose frames wait until they may pass.
type paced struct {
	session.Conn
	ctx  context.Context //nolint:containedctx // a frame is received without one
	wait func(ctx context.Context, bytes int) error
}

// Receive implements session.Conn.
func (p paced) Receive() (session.Frame, error) {
	f, err := p.Conn.Receive()
	if err == nil {
		err = p.wait(p.ctx, len(f.Payload))
	}
	return f, err
}

// watch waits for the end of a session. It returns why the server must end it, and nil if client or agent ended it.
func (o *opened) watch(ended <-chan error, idle func() time.Duration) *husk.Error {
	again := time.NewTicker(o.sessions.check)
	defer again.Stop()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, session.ErrPodGone) {
				return husk.Errorf(husk.CodeUnavailable, "", "the connection to the pod was lost; if the session ran a command, the command was ended")
			}
			return nil
		case <-o.ctx.Done():
			return husk.Errorf(husk.CodeUnavailable, "", "the server is stopping; open the session again")
		case <-again.C:
		}
		if limit := o.sessions.idle; idle() > limit {
			return husk.Errorf(husk.CodeSessionIdle, "", "the session was idle for %s and was closed", limit)
		}
		_, err := o.sessions.store.Tenant(o.request.Caller).Pod(o.ctx, o.pod)
		if gone, ok := errors.AsType[*husk.Error](err); ok && (gone.Code == husk.CodeUnauthenticated || gone.Code == husk.CodeNotFound) {
			return gone
		}
	}
}

// finish sends the client the reason for the end of its session, if there is one, and closes.
func (o *opened) finish(client *ws.Conn, why *husk.Error) {
	if why != nil {
		told := make(chan error, 1)
		go func() { told <- session.SendFault(client, session.Fault{Code: string(why.Code), Detail: why.Detail}) }()
		select {
		case err := <-told:
			if err != nil {
				o.sessions.log.Debug("could not tell a session's client why it ended", "request_id", o.request.ID, "error", err)
			}
		case <-time.After(lastFrame):
			if err := errors.Join(client.Close(), <-told); err != nil {
				o.sessions.log.Debug("a session's client reads nothing", "request_id", o.request.ID, "error", err)
			}
			return
		}
	}
	if err := client.End(); err != nil {
		o.sessions.log.Debug("a session's client did not close properly", "request_id", o.request.ID, "error", err)
	}
}
