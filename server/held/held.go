// SPDX-License-Identifier: Apache-2.0

// Package held limits what a tenant holds at a server at the same time: requests, streams, sessions and bytes. Rate limits say how often a
// tenant may ask for something, and quotas how much it may own. Neither limits how long it keeps what it was given. The package also limits
// the connections of an address, because a connection has no tenant before its first request.
package held

import (
	"runtime"
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
)

// Kind is a kind of thing that is held.
type Kind string

// The kinds.
const (
	Requests  Kind = "requests"
	Watches   Kind = "watches"
	Logs      Kind = "logs"
	Sessions  Kind = "sessions"
	Transfers Kind = "transfers"
	Bytes     Kind = "bytes"
)

// Limits says how much of each kind a tenant can hold at one server.
type Limits struct {
	Requests, Watches, Logs, Sessions, Transfers int
	Bytes                                        int // of bodies of requests, and of responses that are being sent
	StreamBytesPerSecond                         int // of all watches, logs and sessions together
	TransferBytesPerSecond                       int // of all imports and exports of volumes together
}

// DefaultLimits are the limits if the operator sets no others.
var DefaultLimits = Limits{Requests: 64, Watches: 200, Logs: 200, Sessions: 200, Transfers: 2, Bytes: 64 << 20, TransferBytesPerSecond: max(2, runtime.GOMAXPROCS(0)) * transferBytesPerProcessor, StreamBytesPerSecond: max(2, runtime.GOMAXPROCS(0)) * streamBytesPerProcessor}

// streamBytesPerProcessor costs about an eighth of a processor, with the connections to client and agent.
const streamBytesPerProcessor = 4 << 20

// transferBytesPerProcessor costs about a tenth of a processor.
const transferBytesPerProcessor = 16 << 20

// Held counts what each tenant holds.
type Held struct {
	limits  map[Kind]int
	refused *prometheus.CounterVec

	streamRate, transferRate int

	mu        sync.Mutex
	held      map[holder]int
	paces     map[uuid.UUID]*pace
	transfers map[uuid.UUID]*pace
	turns     map[uuid.UUID]*turn
}

type holder struct {
	tenant uuid.UUID
	kind   Kind
}

// New prepares the limits. Limits that are 0 have their default.
func New(l Limits, registry prometheus.Registerer) *Held {
	or := func(limit, otherwise int) int {
		if limit == 0 {
			return otherwise
		}
		return limit
	}
	h := &Held{
		limits: map[Kind]int{
			Requests: or(l.Requests, DefaultLimits.Requests), Watches: or(l.Watches, DefaultLimits.Watches), Logs: or(l.Logs, DefaultLimits.Logs),
			Sessions: or(l.Sessions, DefaultLimits.Sessions), Bytes: or(l.Bytes, DefaultLimits.Bytes), Transfers: or(l.Transfers, DefaultLimits.Transfers),
		},
		held: map[holder]int{}, paces: map[uuid.UUID]*pace{}, turns: map[uuid.UUID]*turn{}, streamRate: or(l.StreamBytesPerSecond, DefaultLimits.StreamBytesPerSecond),
		transfers: map[uuid.UUID]*pace{}, transferRate: or(l.TransferBytesPerSecond, DefaultLimits.TransferBytesPerSecond),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_http_concurrency_refused_total", Help: "Requests refused because their tenant holds too much of this kind at this server.",
		}, []string{"kind"}),
	}
	for kind := range h.limits {
		h.refused.WithLabelValues(string(kind))
	}
	registry.MustRegister(h.refused)
	return h
}

// Take counts one more of this kind until release is called. Codes: concurrency_limit, session_limit.
func (h *Held) Take(tenant uuid.UUID, kind Kind) (release func(), err error) {
	return h.TakeMany(tenant, kind, 1)
}

// TakeMany is Take for several. A tenant that holds nothing of this kind can take more than the limit, so that no single request is
// refused forever. Codes: concurrency_limit, session_limit.
func (h *Held) TakeMany(tenant uuid.UUID, kind Kind, n int) (release func(), err error) {
	if n == 0 {
		return func() {}, nil
	}
	key := holder{tenant, kind}
	limit := h.limits[kind]
	h.mu.Lock()
	defer h.mu.Unlock()
	if has := h.held[key]; has > 0 && has+n > limit {
		h.refused.WithLabelValues(string(kind)).Inc()
		return nil, refusal(kind, limit)
	}
	h.held[key] += n
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.held[key] -= n; h.held[key] == 0 {
			delete(h.held, key)
		}
	}), nil
}

func refusal(kind Kind, limit int) error {
	switch kind {
	case Sessions:
		return husk.Errorf(husk.CodeSessionLimit, "", "the tenant has %d open sessions at this server, which is the limit; close some first", limit)
	case Transfers:
		return husk.Errorf(husk.CodeConcurrencyLimit, "", "the tenant imports and exports %d volumes at this server, which is the limit; retry when one of them has ended", limit)
	case Watches:
		return husk.Errorf(husk.CodeConcurrencyLimit, "watch", "the tenant has %d open watches at this server, which is the limit; close some first", limit)
	case Logs:
		return husk.Errorf(husk.CodeConcurrencyLimit, "", "the tenant reads %d logs from this server, which is the limit; end some of these requests first", limit)
	case Bytes:
		return husk.Errorf(husk.CodeConcurrencyLimit, "", "the bodies of the tenant's requests and responses at this server reach the limit of %d MiB; retry when some of them have ended", limit>>20)
	case Requests:
	}
	return husk.Errorf(husk.CodeConcurrencyLimit, "", "this server handles %d requests of the tenant at the same time, which is the limit; retry when some of them have ended", limit)
}
