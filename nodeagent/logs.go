// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/nodeagent/podlog"
)

// pump copies a container's output from the guest to its log, within the pod's budget.
func (w *worker) pump(ctx context.Context, client *guest.Client, boot, container string, log *podlog.Log) {
	intake, after, err := log.Intake(boot, w.logBudget, func(n uint64) { w.agent.metrics.logDropped.Add(float64(n)) })
	if err == nil {
		err = client.Logs(ctx, container, after, true, func(e guest.LogEntry) error { return intake.Take(ctx, e) })
	}
	if err == nil {
		err = intake.End()
	}
	switch {
	case err == nil:
		log.Finished()
	case ctx.Err() == nil:
		w.log.Warn("container log is incomplete", "container", container, "error", err)
	}
}

// getLogs returns the stored output of a container, and with follow continues with new output.
func (a *Agent) getLogs(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(chi.URLParam(r, "podId"))
	q := r.URL.Query()
	var log *podlog.Log
	if err == nil {
		a.mu.Lock()
		if worker := a.workers[id]; worker != nil {
			log = worker.logOf(q.Get("container"))
		}
		a.mu.Unlock()
	}
	if log == nil {
		problem(w, husk.NotFound("log on this node"), http.StatusNotFound)
		return
	}
	what, wrong := selectionOf(q)
	if wrong != nil {
		problem(w, wrong, http.StatusUnprocessableEntity)
		return
	}
	out := &logResponse{Writer: podlog.Writer{W: w, Timestamps: q.Get("timestamps") == "true"}, c: http.NewResponseController(w)}
	out.JSON = strings.Contains(r.Header.Get("Accept"), "application/x-ndjson")
	if out.JSON {
		w.Header().Set("Content-Type", "application/x-ndjson")
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(http.StatusOK)
	if err := log.Stream(r.Context(), what, q.Get("follow") == "true", out); err != nil && r.Context().Err() == nil {
		a.log.Warn("log not sent completely", "pod", id, "error", err)
		panic(http.ErrAbortHandler) // the only way to tell the reader that the log is incomplete
	}
}

// selectionOf reads the requested selection of lines. Codes: invalid.
func selectionOf(q url.Values) (podlog.Selection, *husk.Error) {
	what := podlog.Selection{Tail: -1}
	var err error
	if t := q.Get("tail"); t != "" {
		if what.Tail, err = strconv.Atoi(t); err != nil || what.Tail < 0 {
			return what, husk.Errorf(husk.CodeInvalid, "tail", "tail must be a number of lines")
		}
	}
	if t := q.Get("since"); t != "" {
		if what.Since, err = time.Parse(time.RFC3339, t); err != nil {
			return what, husk.Errorf(husk.CodeInvalid, "since", "since must be an RFC 3339 time")
		}
	}
	if t := q.Get("after"); t != "" {
		if what.After, err = podlog.ParseCursor(t); err != nil {
			return what, husk.Errorf(husk.CodeInvalid, "after", "%s", err)
		}
	}
	return what, nil
}

// logResponse is a response with lines. A client that reads nothing for too long is disconnected.
type logResponse struct {
	podlog.Writer
	c *http.ResponseController
}

// Write implements podlog.Out.
func (l *logResponse) Write(line podlog.Line) error {
	if err := l.c.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	return l.Line(line)
}

// Flush implements podlog.Out.
func (l *logResponse) Flush() error { return l.c.Flush() }
