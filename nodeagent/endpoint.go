// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
)

// serveEndpoint serves the requests of servers to this node: logs, statistics and streams of its
// pods, as the operations of the contract, and the agent's metrics. Both sides present certificates
// of the installation's authority, and only a server's certificate is accepted. It returns a
// function that stops it.
func (a *Agent) serveEndpoint() (func() error, error) {
	listener, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for servers: %w; check whether another agent is running on this node", err)
	}
	r := chi.NewRouter()
	r.Get("/v1/pods/{podId}/logs", a.getLogs)
	r.Get("/v1/pods/{podId}/stats", a.getStats)
	ending, end := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	a.routeSessions(r, ending, &sessions)
	r.Method(http.MethodGet, "/metrics", a.metrics.handler)
	srv := &http.Server{
		Handler: r, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, // a command's arguments
		TLSConfig: pki.AgentListener(a.id.root, a.holder),
		ErrorLog:  slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(listener, "", "") }()
	return func() error {
		end()
		err := srv.Close()
		sessions.Wait()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}, nil
}

func problem(w http.ResponseWriter, e *husk.Error, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(openapi.Problem{ //nolint:errcheck,errchkjson // the server has gone
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(e.Code), Detail: &e.Detail,
	})
}

// getLogs returns the stored output of a container, and with follow continues with new output.
func (a *Agent) getLogs(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(chi.URLParam(r, "podId"))
	q := r.URL.Query()
	var log *containerLog
	if err == nil {
		a.mu.Lock()
		if worker := a.workers[id]; worker != nil {
			log = worker.logs[q.Get("container")]
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
	out := lineWriter{w: w, c: http.NewResponseController(w), timestamps: q.Get("timestamps") == "true"}
	out.json = strings.Contains(r.Header.Get("Accept"), "application/x-ndjson")
	if out.json {
		w.Header().Set("Content-Type", "application/x-ndjson")
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(http.StatusOK)
	if err := streamLog(r.Context(), log, what, q.Get("follow") == "true", out); err != nil && r.Context().Err() == nil {
		a.log.Warn("log not sent completely", "pod", id, "error", err)
	}
}

// selectionOf reads the requested selection of lines. Codes: invalid.
func selectionOf(q url.Values) (selection, *husk.Error) {
	what := selection{tail: -1}
	var err error
	if t := q.Get("tail"); t != "" {
		if what.tail, err = strconv.Atoi(t); err != nil || what.tail < 0 {
			return what, husk.Errorf(husk.CodeInvalid, "tail", "tail must be a number of lines")
		}
	}
	if t := q.Get("since"); t != "" {
		if what.since, err = time.Parse(time.RFC3339, t); err != nil {
			return what, husk.Errorf(husk.CodeInvalid, "since", "since must be an RFC 3339 time")
		}
	}
	if t := q.Get("after"); t != "" {
		if what.after, err = parseCursor(t); err != nil {
			return what, husk.Errorf(husk.CodeInvalid, "after", "%s", err)
		}
	}
	return what, nil
}

// lineWriter writes lines in the requested format.
type lineWriter struct {
	w          io.Writer
	c          *http.ResponseController
	json       bool
	timestamps bool
}

func (l lineWriter) write(line logLine) error {
	if err := l.c.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if l.json {
		line.Cursor = cursor{line.Boot, line.Seq}.String()
		line.Boot, line.Seq = "", 0
		return json.NewEncoder(l.w).Encode(line)
	}
	text := line.Line
	if !line.Partial {
		text += "\n"
	}
	if l.timestamps {
		text = line.Time.UTC().Format(time.RFC3339Nano) + " " + text
	}
	_, err := io.WriteString(l.w, text)
	return err
}

func (l lineWriter) flush() error { return l.c.Flush() }
