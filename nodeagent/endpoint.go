package nodeagent

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// serveEndpoint serves what servers ask of this node, over TLS with the certificate that the heartbeat reports: logs of its pods, as the
// operation getPodLogs of the contract, and the agent's metrics. It returns a function that ends it.
func (a *Agent) serveEndpoint() (func() error, error) {
	cert, err := a.id.tlsCertificate()
	if err != nil {
		return nil, fmt.Errorf("the agent's certificate: %w", err)
	}
	listener, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for servers: %w; is another agent running on this node?", err)
	}
	r := chi.NewRouter()
	r.Use(newServerAuth(a.server, a.id.NodeID).require)
	r.Get("/v1/pods/{podId}/logs", a.getLogs)
	r.Method(http.MethodGet, "/metrics", a.metrics.handler)
	srv := &http.Server{
		Handler: r, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(listener, "", "") }()
	return func() error {
		err := srv.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}, nil
}

// serverAuth admits servers only: a token that the installation's key signed, for this node.
type serverAuth struct {
	server *serverClient
	parser *jwt.Parser

	mu     sync.Mutex
	keys   map[string]ed25519.PublicKey
	readAt time.Time
}

// keysKept bounds how often an unknown key id makes the agent ask for the keys again.
const keysKept = 10 * time.Second

func newServerAuth(server *serverClient, node uuid.UUID) *serverAuth {
	return &serverAuth{server: server, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience("node:"+node.String()), jwt.WithExpirationRequired(),
		jwt.WithLeeway(30*time.Second),
	)}
}

func (s *serverAuth) require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ok {
			_, err := s.parser.Parse(raw, func(t *jwt.Token) (any, error) { return s.key(r.Context(), t) })
			ok = err == nil
		}
		if !ok {
			problem(w, husk.Errorf(husk.CodeUnauthenticated, "", "only this installation's servers may ask a node"), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *serverAuth) key(ctx context.Context, t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.keys[kid]; ok {
		return key, nil
	}
	if time.Since(s.readAt) < keysKept {
		return nil, errors.New("unknown key id")
	}
	published, err := s.server.keySet(ctx)
	if err != nil {
		return nil, err
	}
	s.readAt = time.Now()
	s.keys = map[string]ed25519.PublicKey{}
	for _, k := range published {
		raw, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %s is not an Ed25519 key", k.Kid)
		}
		s.keys[k.Kid] = raw
	}
	if key, ok := s.keys[kid]; ok {
		return key, nil
	}
	return nil, errors.New("unknown key id")
}

func problem(w http.ResponseWriter, e *husk.Error, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(openapi.Problem{ //nolint:errcheck,errchkjson // the server has gone
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(e.Code), Detail: &e.Detail,
	})
}

// getLogs answers with what is kept of a container's output, and goes on with what comes when asked to follow.
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
	tail := -1
	if t := q.Get("tail"); t != "" {
		if tail, err = strconv.Atoi(t); err != nil || tail < 0 {
			problem(w, husk.Errorf(husk.CodeInvalid, "tail", "tail is a number of lines"), http.StatusUnprocessableEntity)
			return
		}
	}
	out := lineWriter{w: w, c: http.NewResponseController(w), timestamps: q.Get("timestamps") == "true"}
	out.json = strings.Contains(r.Header.Get("Accept"), "application/x-ndjson")
	if out.json {
		w.Header().Set("Content-Type", "application/x-ndjson")
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(http.StatusOK)
	if err := streamLog(r.Context(), log, tail, q.Get("follow") == "true", out); err != nil && r.Context().Err() == nil {
		a.log.Warn("a log was not read to its end", "pod", id, "error", err)
	}
}

// lineWriter writes lines the way the reader asked for.
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
