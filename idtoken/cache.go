// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"context"
	"sync"
	"time"
)

const (
	keysFresh   = 10 * time.Minute // after which the keys are read again
	keysUsable  = time.Hour        // how long the last valid keys are used if they cannot be read again
	placeKept   = time.Hour        // after which the URL of the keys is read again
	askInterval = 10 * time.Second // between two requests for keys, whatever tokens contain
	maxIssuers  = 1000             // above this, the least recently used one is removed
)

// source is an issuer and its cached keys.
type source struct {
	issuer string
	turn   chan struct{} // full while a goroutine asks the issuer
	used   time.Time     // guarded by Verifier.mu

	mu       sync.Mutex
	keys     []key
	readAt   time.Time // when keys were read; zero before the first time
	places   places
	placedAt time.Time // when places were read
	askedAt  time.Time // when the last attempt ended, successful or not
	err      error     // the error of the last attempt
}

// source returns the cache entry of an issuer.
func (v *Verifier) source(issuer string) *source {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sources[issuer]
	if s == nil {
		if len(v.sources) >= maxIssuers {
			var oldest *source
			for _, s := range v.sources {
				if oldest == nil || s.used.Before(oldest.used) {
					oldest = s
				}
			}
			delete(v.sources, oldest.issuer)
		}
		s = &source{issuer: issuer, turn: make(chan struct{}, 1)}
		v.sources[issuer] = s
	}
	s.used = v.now()
	return s
}

// known returns keys that can be used without asking the issuer. ask reports whether the issuer
// should be asked, which can also find usable keys. With missing, the cached keys were tried and
// none matched.
func (s *source) known(now time.Time, missing bool) (keys []key, ask bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := now.Sub(s.readAt)
	asked := !s.askedAt.IsZero() && now.Sub(s.askedAt) < askInterval
	if s.keys != nil && age < keysUsable {
		keys = s.keys
	}
	switch {
	case !missing && keys != nil && age < keysFresh:
		return keys, false, nil
	case !asked:
		return keys, true, nil
	case missing || keys == nil: // the last attempt was just now, so its result counts
		return keys, false, s.err
	default:
		return keys, false, nil
	}
}

// keys returns an issuer's keys. With missing, no key of an earlier call matched, and the issuer is
// asked for newer ones if that is allowed again. It returns an *IssuerError.
func (v *Verifier) keys(ctx context.Context, s *source, missing bool) ([]key, error) {
	keys, ask, err := s.known(v.now(), missing)
	if !ask {
		return keys, err
	}
	if keys != nil && !missing { // usable while another goroutine asks
		select {
		case s.turn <- struct{}{}:
		default:
			return keys, nil
		}
	} else {
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, unreachable(s.issuer, ctx.Err())
		}
	}
	defer func() { <-s.turn }()
	if keys, ask, err = s.known(v.now(), missing); !ask { // another goroutine has asked in the meantime
		return keys, err
	}
	v.refresh(ctx, s)
	keys, _, err = s.known(v.now(), missing)
	return keys, err
}

// refresh asks the issuer and stores the result. The caller has the turn.
func (v *Verifier) refresh(ctx context.Context, s *source) {
	s.mu.Lock()
	at := s.places
	if v.now().Sub(s.placedAt) >= placeKept {
		at = places{}
	}
	s.mu.Unlock()

	found, err := v.ask(ctx, s.issuer, at)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedAt, s.err = v.now(), err
	if err != nil {
		s.places = places{} // the keys may have moved
		v.log.Warn("keys of an issuer not read", "issuer", s.issuer, "kept", len(s.keys), "error", err)
		return
	}
	s.keep(found, v.now(), at.keys == "")
}

// keep stores an issuer's response. The caller holds s.mu.
func (s *source) keep(found answer, now time.Time, discovered bool) {
	s.keys, s.readAt, s.askedAt, s.err = found.keys, now, now, nil
	if discovered {
		s.places, s.placedAt = found.places, now
	}
}

// answer is an issuer's response.
type answer struct {
	places places
	keys   []key
}

// ask reads an issuer's keys, and before that their URL unless it is known. It continues when the
// caller has gone: the result is for all callers, and a caller that disconnects must not use up the
// turn of the others.
func (v *Verifier) ask(ctx context.Context, issuer string, at places) (answer, error) {
	if err := checkIssuer(issuer); err != nil {
		return answer{}, err
	}
	client := v.egress.Client(askTimeout)
	defer client.CloseIdleConnections()
	ctx = context.WithoutCancel(ctx)
	if at.keys == "" {
		var err error
		if at, err = discover(ctx, client, issuer); err != nil {
			return answer{}, err
		}
	}
	keys, err := readKeys(ctx, client, issuer, at.keys)
	return answer{places: at, keys: keys}, err
}
