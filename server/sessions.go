package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"husk"
	"husk/openapi"
	"husk/session"
	"husk/session/ws"
	"husk/store"
)

// Limits of sessions. The agent and husk-init bound those of one pod.
const (
	// maxTenantSessions bounds what a tenant has open at one server.
	maxTenantSessions = 200
	// sessionIdle is how long a session may pass without a byte in either direction.
	sessionIdle = time.Hour
	// sessionStart is how long a guest may take to begin one; a command under emulation on a busy node needs a while.
	sessionStart = 35 * time.Second
	// lastFrame is how long a client may take to be sent why its session is over.
	lastFrame = 2 * time.Second
	// lastRead is how long a client may take to read the end and close. Then the server does.
	lastRead = time.Minute
)

// tenantSessions counts the sessions of each tenant at this server.
type tenantSessions struct {
	mu   sync.Mutex
	open map[store.ID]int
}

// enter counts one more, or says that there are too many. Codes: session_limit.
func (t *tenantSessions) enter(tenant store.ID) (leave func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[tenant] >= maxTenantSessions {
		return nil, husk.Errorf(husk.CodeSessionLimit, "", "the tenant has %d sessions open, as many as it may; close some first", maxTenantSessions)
	}
	t.open[tenant]++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.open[tenant]--; t.open[tenant] == 0 {
			delete(t.open, tenant)
		}
	}), nil
}

// verb is a session that is asked for.
type verb struct {
	pod       store.ID
	container *string // nil: the pod's only one; none where the verb knows no containers
	detail    string  // for the audit log; a verb without one only reads and is not in it
	ask       func(agent string, container *string) (*http.Request, error)
	fits      func(c husk.Container) error // says what a container lacks for it; nil: nothing is needed
}

// suits says what the container lacks for it.
func (v verb) suits(pod husk.Pod) error {
	for _, c := range pod.Spec.Containers {
		if v.fits != nil && c.Name == *v.container {
			return v.fits(c)
		}
	}
	return nil
}

// isSession tells operations that are WebSockets.
func isSession(operation string) bool {
	switch operation {
	case "ExecInPod", "AttachToPod", "OpenPodConsole", "ForwardPodPort", "CopyFromPod", "CopyToPod":
		return true
	default:
		return false
	}
}

// ExecInPod runs a command in a container.
func (a api) ExecInPod(ctx context.Context, r openapi.ExecInPodRequestObject) (openapi.ExecInPodResponseObject, error) {
	return a.open(ctx, true, verb{r.PodID, r.Params.Container, commandLine(r.Params.Command), func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewExecInPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// AttachToPod joins a container's own process.
func (a api) AttachToPod(ctx context.Context, r openapi.AttachToPodRequestObject) (openapi.AttachToPodResponseObject, error) {
	detail := "attach"
	if valueOf(r.Params.Stdin) {
		detail += " with input"
	}
	ask := func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewAttachToPodRequest(agent, r.PodID, &r.Params)
	}
	return a.open(ctx, true, verb{r.PodID, r.Params.Container, detail, ask, func(c husk.Container) error {
		switch {
		case valueOf(r.Params.Stdin) && !c.Stdin:
			return husk.Errorf(husk.CodeConflict, "stdin", "container %s takes no input: it was ordered without stdin. Leave stdin out, or order the pod again with stdin", c.Name)
		case valueOf(r.Params.Tty) && !c.TTY:
			return husk.Errorf(husk.CodeConflict, "tty", "container %s has no terminal: it was ordered without tty. Leave tty out, or order the pod again with tty", c.Name)
		default:
			return nil
		}
	}})
}

// OpenPodConsole follows a machine's console.
func (a api) OpenPodConsole(ctx context.Context, r openapi.OpenPodConsoleRequestObject) (openapi.OpenPodConsoleResponseObject, error) {
	return a.open(ctx, false, verb{r.PodID, nil, "", func(agent string, _ *string) (*http.Request, error) {
		return openapi.NewOpenPodConsoleRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// ForwardPodPort connects to a port in a pod.
func (a api) ForwardPodPort(ctx context.Context, r openapi.ForwardPodPortRequestObject) (openapi.ForwardPodPortResponseObject, error) {
	return a.open(ctx, false, verb{r.PodID, nil, fmt.Sprintf("port %d", r.Params.Port), func(agent string, _ *string) (*http.Request, error) {
		return openapi.NewForwardPodPortRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// CopyFromPod sends files of a container as an archive.
func (a api) CopyFromPod(ctx context.Context, r openapi.CopyFromPodRequestObject) (openapi.CopyFromPodResponseObject, error) {
	return a.open(ctx, true, verb{r.PodID, r.Params.Container, "from " + r.Params.Path, func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewCopyFromPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// CopyToPod unpacks an archive in a container.
func (a api) CopyToPod(ctx context.Context, r openapi.CopyToPodRequestObject) (openapi.CopyToPodResponseObject, error) {
	return a.open(ctx, true, verb{r.PodID, r.Params.Container, "to " + r.Params.Path, func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewCopyToPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// commandLine writes a command so that each argument can be told from the next.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$") {
			quoted[i] = fmt.Sprintf("%q", arg)
		}
	}
	return strings.Join(quoted, " ")
}

// open prepares a session: the caller may, the pod is there, the request is a WebSocket's, it is written down, and the agent of the pod's
// node has begun. What fails until then is a problem like any other. A browser hides the answer to a WebSocket that was refused, so one that
// has come this far gets it as the first frame.
func (a api) open(ctx context.Context, inContainer bool, v verb) (*opened, error) {
	req := requestOf(ctx)
	o := &opened{server: a.Server, ctx: ctx, request: req, pod: v.pod, leave: func() {}}
	if err := a.checkOrigin(req.http); err != nil {
		return nil, err
	}
	pod, err := a.store.Pod(ctx, req.caller.TenantID, v.pod)
	if err != nil {
		return nil, err
	}
	if inContainer {
		container, err := chooseContainer(pod, v.container)
		if err != nil {
			return nil, err
		}
		v.container, v.detail = &container, "container "+container+": "+v.detail
	}
	if !ws.IsUpgrade(req.http) {
		return nil, husk.Errorf(husk.CodeUpgradeRequired, "", "open this as a WebSocket of the subprotocol %s", session.Protocol)
	}
	if err = v.suits(pod); err == nil {
		err = a.begin(ctx, o, v)
	}
	if refused, ok := errors.AsType[*husk.Error](err); ok && req.http.Header.Get("Origin") != "" {
		o.leave()
		return &opened{server: a.Server, ctx: ctx, request: req, pod: v.pod, leave: func() {}, refused: refused}, nil
	}
	if err != nil {
		o.leave()
		return nil, err
	}
	return o, nil
}

// begin writes the session down and has the agent begin it.
func (a api) begin(ctx context.Context, o *opened, v verb) error {
	tenant := o.request.caller.TenantID
	leave, err := a.sessions.enter(tenant)
	if err != nil {
		return err
	}
	o.leave = leave
	var pod husk.Pod
	var node husk.Node
	var placed bool
	if v.detail == "" {
		node, placed, err = a.store.NodeOfPod(ctx, tenant, v.pod)
	} else {
		pod, node, placed, err = a.store.OpenSession(ctx, tenant, v.pod, v.detail)
	}
	if err != nil {
		return err
	}
	if !placed {
		return husk.Errorf(husk.CodeConflict, "", "the pod is not placed yet, so there is nothing to talk to; %s", pod.Status.Message)
	}
	ask, err := v.ask(node.Endpoint, v.container)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sessionStart)
	defer cancel()
	conn, said, err := ws.Dial(ctx, a.agents.session(node.ID), ask.URL.String(), nil)
	if said != nil {
		// The handshake has proved the authority's signature; whether the certificate was revoked is known here only.
		if _, _, e := a.verifyNode(ctx, said.TLS); e != nil {
			err = errors.Join(fmt.Errorf("agent of node %s: %w", node.Name, e), err)
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
			return errors.Join(agentAway(node), err)
		}
	}
	if err != nil {
		if said == nil {
			return errors.Join(agentAway(node), err)
		}
		return agentRefused(node, said.Status, said.Body)
	}
	o.agent = conn
	return nil
}

func agentAway(node husk.Node) error {
	return husk.Errorf(husk.CodeUnavailable, "", "node %s, which runs this pod, does not answer; try again", node.Name)
}

// agentRefused passes on what an agent says is wrong.
func agentRefused(node husk.Node, status int, body []byte) error {
	var p openapi.Problem
	err := json.Unmarshal(body, &p)
	code := husk.Code(p.Code)
	if own, known := statusOf[code]; err != nil || !known || own >= http.StatusInternalServerError || p.Detail == nil {
		return errors.Join(agentAway(node), fmt.Errorf("agent of node %s answers %d: %s", node.Name, status, body))
	}
	return husk.Errorf(code, valueOf(p.Field), "%s", *p.Detail)
}

// checkOrigin keeps pages of other sites from opening sessions. They have no token, so this is a second wall.
func (s *Server) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	from, err := url.Parse(origin)
	if err == nil && from.Host != "" {
		own, e := url.Parse(s.cfg.Issuer)
		if strings.EqualFold(from.Host, r.Host) || e == nil && strings.EqualFold(from.Host, own.Host) {
			return nil
		}
	}
	return husk.Errorf(husk.CodeForbidden, "Origin", "a page of another site may not open sessions")
}

// opened is a session that the agent has begun and the client is to be connected with.
type opened struct {
	server  *Server
	ctx     context.Context //nolint:containedctx // the generated interface hands none on
	request *request
	pod     store.ID
	agent   *ws.Conn
	leave   func()
	refused *husk.Error // in the place of a session
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

// serve connects client and agent until one of them ends it, nothing is said for too long, or the caller may no more.
func (o *opened) serve(w http.ResponseWriter) error {
	defer o.leave()
	client, err := ws.Accept(w, o.request.http)
	if err != nil { // it has answered; the handshake was not one
		o.server.log.Debug("a session was not opened", "request_id", o.request.id, "error", err)
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
	gauge := o.server.metrics.sessions.WithLabelValues(o.request.operation)
	gauge.Inc()
	defer gauge.Dec()
	client.KeepAlive()
	o.agent.KeepAlive()
	var moved atomic.Int64
	moved.Store(time.Now().UnixNano())
	ended, gone := make(chan error, 1), make(chan (<-chan struct{}), 1)
	go func() {
		left, err := session.Relay(client, o.agent, func() { moved.Store(time.Now().UnixNano()) })
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
	o.server.log.Info("session ended", "request_id", o.request.id, "operation", o.request.operation, "tenant", o.request.caller.TenantID, "pod", o.pod,
		"took", time.Since(began), "reason", why, "closing", closed)
	return nil
}

// watch waits for a session's end and returns why it must end, or nil when it has ended by itself.
func (o *opened) watch(ended <-chan error, idle func() time.Duration) *husk.Error {
	again := time.NewTicker(o.server.cfg.SessionCheck)
	defer again.Stop()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, session.ErrPodGone) {
				return husk.Errorf(husk.CodeUnavailable, "", "the connection to the pod broke off, and what ran in the session was ended")
			}
			return nil
		case <-o.ctx.Done():
			return husk.Errorf(husk.CodeUnavailable, "", "the server stops; open the session again")
		case <-again.C:
		}
		if limit := o.server.cfg.SessionIdle; idle() > limit {
			return husk.Errorf(husk.CodeSessionIdle, "", "nothing was said for %s, so the session was ended", limit)
		}
		_, err := o.server.store.Pod(o.ctx, o.request.caller.TenantID, o.pod)
		if gone, ok := errors.AsType[*husk.Error](err); ok && (gone.Code == husk.CodeUnauthenticated || gone.Code == husk.CodeNotFound) {
			return gone
		}
	}
}

// finish tells the client why its session is over, if it is there to hear, and closes.
func (o *opened) finish(client *ws.Conn, why *husk.Error) {
	if why != nil {
		told := make(chan error, 1)
		go func() { told <- session.SendFault(client, session.Fault{Code: string(why.Code), Detail: why.Detail}) }()
		select {
		case err := <-told:
			if err != nil {
				o.server.log.Debug("a session's client did not learn why it is over", "request_id", o.request.id, "error", err)
			}
		case <-time.After(lastFrame):
			if err := errors.Join(client.Close(), <-told); err != nil {
				o.server.log.Debug("a session's client reads nothing", "request_id", o.request.id, "error", err)
			}
			return
		}
	}
	if err := client.End(); err != nil {
		o.server.log.Debug("a session's client did not say goodbye", "request_id", o.request.id, "error", err)
	}
}

// maxStats bounds an agent's answer about a pod, in bytes.
const maxStats = 1 << 20

// GetPodStats asks the agent of the pod's node, which asks the pod.
func (a api) GetPodStats(ctx context.Context, r openapi.GetPodStatsRequestObject) (openapi.GetPodStatsResponseObject, error) {
	tenant := requestOf(ctx).caller.TenantID
	pod, err := a.store.Pod(ctx, tenant, r.PodID)
	if err != nil {
		return nil, err
	}
	node, placed, err := a.store.NodeOfPod(ctx, tenant, r.PodID)
	if err != nil {
		return nil, err
	}
	if !placed {
		return nil, husk.Errorf(husk.CodeConflict, "", "pod %q is not placed yet, so it uses nothing: %s", pod.Name, pod.Status.Message)
	}
	client, err := openapi.NewClient(node.Endpoint, openapi.WithHTTPClient(a.agents.to(node.ID)))
	if err != nil {
		return nil, err
	}
	resp, err := client.GetPodStats(ctx, r.PodID)
	if err != nil {
		return nil, errors.Join(agentAway(node), err)
	}
	defer resp.Body.Close()
	if _, _, err := a.verifyNode(ctx, resp.TLS); err != nil {
		return nil, errors.Join(agentAway(node), fmt.Errorf("agent of node %s: %w", node.Name, err))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStats))
	if err != nil {
		return nil, errors.Join(agentAway(node), err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, agentRefused(node, resp.StatusCode, raw)
	}
	var stats openapi.PodStats
	if err := json.Unmarshal(raw, &stats); err != nil {
		return nil, errors.Join(agentAway(node), err)
	}
	return openapi.GetPodStats200JSONResponse(stats), nil
}
