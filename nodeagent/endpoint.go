// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"husk"
	"husk/openapi"
	"husk/pki"
)

// serveEndpoint serves the requests of servers to this node: logs, statistics and streams of its
// pods, as the operations of the contract, and the agent's metrics. Both sides present certificates
// of the installation's authority. A node's certificate is accepted for the memory of a pod that
// comes from there, and for nothing else. It returns a function that stops it.
func (a *Agent) serveEndpoint() (func() error, error) {
	listener, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for servers: %w; check whether another agent is running on this node", err)
	}
	all := chi.NewRouter()
	all.Post("/v1/pods/{podId}/memory", a.acceptMemory)
	r := all.With(onlyServers)
	r.Get("/v1/pods/{podId}/logs", a.getLogs)
	r.Get("/v1/pods/{podId}/stats", a.getStats)
	r.Get("/v1/pods/{podId}/stats/history", a.getHistory)
	r.Post("/v1/pods/{podId}/kill", a.kill)
	r.Post("/v1/pods/{podId}/freeze", a.freeze)
	r.Post("/v1/pods/{podId}/thaw", a.thaw)
	ending, end := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	a.routeSessions(r, ending, &sessions)
	r.Method(http.MethodGet, "/metrics", a.metrics.handler)
	srv := &http.Server{
		Handler: all, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, // a command's arguments
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
