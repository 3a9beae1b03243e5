// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"husk/server/request"

	"github.com/prometheus/client_golang/prometheus"
)

// observer measures and logs every request.
type observer struct {
	log      *slog.Logger
	problems problems
	requests *prometheus.HistogramVec
	https    string // value of Strict-Transport-Security
}

func newObserver(log *slog.Logger, registry prometheus.Registerer, https string) *observer {
	o := &observer{log: log, https: https, problems: problems{log}, requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "husk_http_request_duration_seconds", Help: "Time to respond to a request, by operation and status. Streams count until they end.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	}, []string{"operation", "status"})}
	registry.MustRegister(o.requests)
	return o
}

// observe gives each request an id, measures it and logs it in one line. A panic in a handler becomes an internal error.
func (o *observer) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, req := request.New(r)
		w.Header().Set("X-Request-Id", req.ID)
		w.Header().Set("Cache-Control", "no-store") // tokens must not be cached (RFC 6749, 5.1), and neither must any other response
		// Much of what the API returns comes from pods, images and registries. Browsers must not treat it as
		// another type than the one in Content-Type.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if o.https != "" {
			w.Header().Set("Strict-Transport-Security", o.https)
		}
		start := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				o.log.Error("panic", "request_id", req.ID, "operation", req.Operation, "panic", p)
				o.problems.write(rec, r, errPanic)
			}
			took := time.Since(start)
			o.requests.WithLabelValues(req.Operation, strconv.Itoa(rec.status)).Observe(took.Seconds())
			o.log.Debug("request", "request_id", req.ID, "operation", req.Operation, "status", rec.status, "tenant", req.Caller.TenantID, "took", took)
		}()
		next.ServeHTTP(rec, r)
	})
}

var errPanic = errors.New("a handler panicked")

// recorder remembers the status for metrics and lets streams flush.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
