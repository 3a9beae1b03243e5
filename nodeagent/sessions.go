// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/nodeagent/console"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
	"husk/openapi"
	"husk/session"
	"husk/session/ws"
	"husk/signals"
)

// beginWait is how long a guest may take to begin an exec session or another stream.
const beginWait = 30 * time.Second

// attachWait is how long an attach request waits for the guest of a starting pod.
const attachWait = 15 * time.Second

// opener begins a stream to a pod.
type opener func(ctx context.Context, w *worker, q url.Values) (session.Conn, error)

// routeSessions serves the interactive verbs, each as the operation of the contract with the same
// path. The server has authorized the request. The streams end when the context ending ends, and
// running counts them.
func (a *Agent) routeSessions(r chi.Router, ending context.Context, running *sync.WaitGroup) { //nolint:revive // their end is not that of a request's context
	for path, open := range map[string]opener{
		"exec": openExec, "attach": openAttach, "console": a.openConsole, "port-forward": openForward, "copy-out": openCopyOut, "copy-in": openCopyIn,
	} {
		r.Get("/v1/pods/{podId}/"+path, func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			a.serveSession(ending, w, r, open)
		})
	}
}

// serveSession begins a stream in the guest, so that an error becomes the response to the request,
// and then relays it.
func (a *Agent) serveSession(ending context.Context, w http.ResponseWriter, r *http.Request, open opener) { //nolint:revive // as above
	worker := a.workerOf(r)
	if worker == nil {
		problem(w, husk.NotFound("pod on this node"), http.StatusNotFound)
		return
	}
	if !ws.IsUpgrade(r) {
		problem(w, husk.Errorf(husk.CodeUpgradeRequired, "", "this operation needs a WebSocket"), http.StatusUpgradeRequired)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), beginWait)
	defer cancel()
	pod, err := open(ctx, worker, r.URL.Query())
	if err != nil {
		a.refuseSession(w, worker, err)
		return
	}
	client, err := ws.Accept(w, r)
	if err != nil {
		a.log.Warn("session not opened", "pod", worker.id, "error", errors.Join(err, pod.Close()))
		return
	}
	client.KeepAlive()
	stop := context.AfterFunc(ending, func() { _ = pod.Close() }) //nolint:errcheck // the relay notices that it is closed
	defer stop()
	gone, err := session.Relay(client, pod, func() {})
	refused, said := errors.AsType[*guest.CallError](err)
	if said {
		e, _ := shown(refused)
		err = errors.Join(err, session.SendFault(client, session.Fault{Code: string(e.Code), Detail: e.Detail}))
	}
	// The guest's side is closed first: this ends what runs in a session whose client has gone.
	closed := pod.Close()
	// If no end was received because the machine ended first, do not wait for the client: it is
	// itself waiting for an end.
	if err == nil || said {
		select { // the server closes after it has passed on the end, to a client that may be slow
		case <-gone:
		case <-ending.Done():
		}
	}
	closed = errors.Join(closed, client.Close())
	a.log.Debug("session ended", "pod", worker.id, "path", r.URL.Path, "error", err, "closing", closed)
}

func (a *Agent) workerOf(r *http.Request) *worker {
	id, err := uuid.Parse(chi.URLParam(r, "podId"))
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[id]
}

// refuseSession responds to a request that the guest has refused or cannot serve.
func (a *Agent) refuseSession(w http.ResponseWriter, worker *worker, err error) {
	if e, ok := errors.AsType[*husk.Error](err); ok {
		problem(w, e, statusOfSession(e.Code))
		return
	}
	if refused, ok := errors.AsType[*guest.CallError](err); ok {
		e, status := shown(refused)
		problem(w, e, status)
		return
	}
	a.log.Warn("guest did not serve a request", "pod", worker.id, "error", err)
	problem(w, husk.Errorf(husk.CodeUnavailable, "", "the pod's guest does not respond; retry in a few seconds"), http.StatusServiceUnavailable)
}

func statusOfSession(code husk.Code) int {
	switch code { //nolint:exhaustive // these are the only codes created here
	case husk.CodeNotFound:
		return http.StatusNotFound
	case husk.CodeConflict:
		return http.StatusConflict
	case husk.CodeSessionLimit:
		return http.StatusTooManyRequests
	default:
		return http.StatusUnprocessableEntity
	}
}

// shown converts a guest's error to an API error. The text comes from the guest and is shown only
// to its tenant.
func shown(e *guest.CallError) (*husk.Error, int) {
	code := husk.CodeConflict
	switch e.Code {
	case guest.CodeNotFound, guest.CodeNoFile:
		code = husk.CodeNotFound
	case guest.CodeNoCommand:
		code = husk.CodeCommandNotFound
	case guest.CodeNotExecutable:
		code = husk.CodeCommandNotExecutable
	case guest.CodeBusy:
		code = husk.CodeSessionLimit
	case guest.CodeSlow:
		code = husk.CodeSessionSlow
	case guest.CodeInvalid:
		if strings.HasPrefix(e.Message, "call ") {
			return husk.Errorf(husk.CodeConflict, "", "the pod was started by an older version of Husk, which does not support this; delete the pod and create it again"), http.StatusConflict
		}
		code = husk.CodeInvalid
	}
	return husk.Errorf(code, "", "%s", e.Message), statusOfSession(code)
}

// client returns the channel to the guest. Codes: conflict.
func (w *worker) client() (*guest.Client, error) {
	if c := w.guest.Load(); c != nil {
		return c, nil
	}
	return nil, husk.Errorf(husk.CodeConflict, "", "the pod is not running")
}

func openExec(ctx context.Context, w *worker, q url.Values) (session.Conn, error) {
	c, err := w.client()
	if err != nil {
		return nil, err
	}
	return c.Exec(ctx, guest.Exec{
		Container: q.Get("container"), Args: q["command"], Env: q["env"], User: q.Get("user"), WorkingDir: q.Get("workingDir"),
		Stdin: q.Get("stdin") == "true", TTY: q.Get("tty") == "true", Size: sizeOf(q),
	})
}

// attachLook is how often the agent checks whether the guest of a starting pod responds.
const attachLook = 20 * time.Millisecond

// startingClient returns the channel to the guest, and waits for it while the pod starts. Codes:
// conflict.
func (w *worker) startingClient(ctx context.Context) (*guest.Client, error) {
	look := time.NewTicker(attachLook)
	defer look.Stop()
	for {
		desired, _ := w.current()
		c, err := w.client()
		if err == nil || desired.State != husk.DesiredRunning || w.over.Load() {
			return c, err
		}
		select {
		case <-look.C:
		case <-w.done:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

func openAttach(ctx context.Context, w *worker, q url.Values) (session.Conn, error) {
	waiting, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	c, err := w.startingClient(waiting)
	if err != nil {
		return nil, err
	}
	log := w.logOf(q.Get("container"))
	if log == nil {
		return nil, husk.NotFound("container in this pod")
	}
	detach := log.Attach()
	conn, err := c.Attach(ctx, guest.Attach{
		Container: q.Get("container"), Stdin: q.Get("stdin") == "true", TTY: q.Get("tty") == "true", Size: sizeOf(q), Backlog: q.Get("backlog") == "true",
	})
	if err != nil {
		detach()
		return nil, err
	}
	return &attached{Conn: conn, detach: sync.OnceFunc(detach)}, nil
}

// attached is an attach session, during which the container's output need not wait for its log.
type attached struct {
	session.Conn
	detach func()
}

// Close implements session.Conn.
func (a *attached) Close() error {
	a.detach()
	return a.Conn.Close()
}

func openForward(ctx context.Context, w *worker, q url.Values) (session.Conn, error) {
	c, err := w.client()
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(q.Get("port"))
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "port", "port must be a number")
	}
	return c.Forward(ctx, port)
}

func openCopyOut(ctx context.Context, w *worker, q url.Values) (session.Conn, error) {
	c, err := w.client()
	if err != nil {
		return nil, err
	}
	return c.CopyOut(ctx, guest.Copy{Container: q.Get("container"), Path: q.Get("path")})
}

func openCopyIn(ctx context.Context, w *worker, q url.Values) (session.Conn, error) {
	c, err := w.client()
	if err != nil {
		return nil, err
	}
	return c.CopyIn(ctx, guest.Copy{Container: q.Get("container"), Path: q.Get("path"), KeepOwners: q.Get("keepOwners") == "true"})
}

func (a *Agent) openConsole(_ context.Context, w *worker, _ url.Values) (session.Conn, error) {
	return console.Follow(vm.ConsoleLog(a.cfg.VM.LogDir, w.id.String()), w.done)
}

func sizeOf(q url.Values) session.Size {
	side := func(name string) uint16 {
		n, err := strconv.ParseUint(q.Get(name), 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	}
	return session.Size{Cols: side("cols"), Rows: side("rows")}
}

// kill sends a signal to a container of a pod.
func (a *Agent) kill(w http.ResponseWriter, r *http.Request) {
	worker := a.workerOf(r)
	if worker == nil {
		problem(w, husk.NotFound("pod on this node"), http.StatusNotFound)
		return
	}
	var body openapi.PodSignal
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSignal)).Decode(&body); err != nil {
		problem(w, husk.Errorf(husk.CodeInvalid, "", "the request cannot be read: %s", err), http.StatusBadRequest)
		return
	}
	number, err := signals.Parse(openapi.Value(body.Signal))
	if err != nil {
		problem(w, husk.Errorf(husk.CodeInvalid, "signal", "%s", err), http.StatusUnprocessableEntity)
		return
	}
	c, err := worker.client()
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), statsWait)
		defer cancel()
		err = c.Signal(ctx, openapi.Value(body.Container), number)
	}
	if err != nil {
		a.refuseSession(w, worker, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// maxSignal limits the body of a request to send a signal, in bytes.
const maxSignal = 4 << 10

// getStats returns the resource usage of a pod.
func (a *Agent) getStats(w http.ResponseWriter, r *http.Request) {
	worker := a.workerOf(r)
	if worker == nil {
		problem(w, husk.NotFound("pod on this node"), http.StatusNotFound)
		return
	}
	c, err := worker.client()
	var stats guest.Stats
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), statsWait)
		defer cancel()
		stats, err = c.Stats(ctx)
	}
	if err != nil {
		a.refuseSession(w, worker, err)
		return
	}
	desired, _ := worker.current()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(translate.Stats(stats, desired)); err != nil {
		a.log.Debug("statistics not sent completely", "pod", worker.id, "error", err)
	}
}

// statsWait is how long a guest may take to read its counters. A server waits a little longer.
const statsWait = 8 * time.Second
