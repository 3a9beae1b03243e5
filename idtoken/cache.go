package idtoken

import (
	"context"
	"sync"
	"time"
)

const (
	keysFresh   = 10 * time.Minute // then the keys are read again
	keysUsable  = time.Hour        // as long the last good keys do if they cannot be read
	placeKept   = time.Hour        // then the issuer is asked again where its keys are
	askInterval = 10 * time.Second // between two readings, whatever tokens ask for
	maxIssuers  = 1000             // then the one unused for the longest time is forgotten
)

// source is an issuer and what is known of its keys.
type source struct {
	issuer string
	turn   chan struct{} // full while somebody asks the issuer
	used   time.Time     // guarded by Verifier.mu

	mu       sync.Mutex
	keys     []key
	readAt   time.Time // of keys; zero before the first
	places   places
	placedAt time.Time // of places
	askedAt  time.Time // when the last reading ended, well or not
	err      error     // what it ended in
}

// source returns what is known of an issuer.
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

// known returns keys that do without asking. ask tells that the issuer should be asked, of which usable keys may be the result as well.
// With missing, the keys that are there have been tried and do not do.
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
	case missing || keys == nil: // what was asked just now decides
		return keys, false, s.err
	default:
		return keys, false, nil
	}
}

// keys returns an issuer's keys. With missing, the keys of an earlier call did not do, and newer ones are wanted if the issuer may be
// asked again. It returns an *IssuerError.
func (v *Verifier) keys(ctx context.Context, s *source, missing bool) ([]key, error) {
	keys, ask, err := s.known(v.now(), missing)
	if !ask {
		return keys, err
	}
	if keys != nil && !missing { // they do while another asks
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
	if keys, ask, err = s.known(v.now(), missing); !ask { // another has asked meanwhile
		return keys, err
	}
	v.refresh(ctx, s)
	keys, _, err = s.known(v.now(), missing)
	return keys, err
}

// refresh asks the issuer and keeps the outcome. The caller has the turn.
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
		s.places = places{} // perhaps the keys have moved
		v.log.Warn("keys of an issuer were not read", "issuer", s.issuer, "kept", len(s.keys), "error", err)
		return
	}
	s.keep(found, v.now(), at.keys == "")
}

// keep notes what an issuer has answered. The caller holds s.mu.
func (s *source) keep(found answer, now time.Time, discovered bool) {
	s.keys, s.readAt, s.askedAt, s.err = found.keys, now, now, nil
	if discovered {
		s.places, s.placedAt = found.places, now
	}
}

// answer is what an issuer says.
type answer struct {
	places places
	keys   []key
}

// ask reads an issuer's keys, after asking where they are unless that is known. It goes on when the caller has gone: the answer is for
// all, and somebody who hangs up must not use up the turn of the others.
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
