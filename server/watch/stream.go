// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/server/request"
)

// pingEvery is how often a quiet stream sends a comment, so that proxies keep it open and a dead reader is noticed.
const pingEvery = 15 * time.Second

// Watch is one reader's watch.
type Watch[T any] struct {
	// Match selects objects; nil selects all.
	Match func(T) bool
	// Before reads the objects that the watch begins with, page by page, and calls each for every page. It is set for objects that are only
	// appended; other watches begin with the objects of the feed.
	Before func(each func([]T) error) error
}

// Stream streams until the reader leaves, is too slow, or is no longer authorized. An error means that nothing was sent.
func (f *Feeds[T]) Stream(ctx context.Context, w http.ResponseWriter, watch Watch[T]) error {
	caller := request.Of(ctx).Caller
	wait, ended := f.cfg.Held.Pace(caller.TenantID)
	defer ended()
	r := reader[T]{
		Watch: watch, feeds: f, caller: caller, redacted: caller.Role == husk.RoleViewer, sent: map[uuid.UUID]time.Time{}, out: eventStream{w, http.NewResponseController(w)},
		wait: func(bytes int) error { return wait(ctx, bytes) },
	}
	feed, leave := f.join(caller.TenantID)
	defer leave()
	defer feed.enter(caller)()
	objects, version, err := feed.fresh(ctx, caller)
	if err != nil {
		return err
	}
	f.cfg.open.Inc()
	defer f.cfg.open.Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if err = r.begin(objects); err == nil {
		err = r.follow(ctx, feed, version)
	}
	f.cfg.Log.Debug("a watch ended", "tenant", caller.TenantID, "error", err)
	return nil
}

// reader is what is known about one reader.
type reader[T any] struct {
	Watch[T]
	feeds    *Feeds[T]
	caller   husk.Caller
	redacted bool
	wait     func(bytes int) error // until so much may be sent
	out      eventStream
	sent     map[uuid.UUID]time.Time // the objects that the reader knows, with their times if objects are only appended
}

func (r *reader[T]) matches(object T) bool { return r.Match == nil || r.Match(object) }

// begin sends the objects that exist.
func (r *reader[T]) begin(objects []*entry[T]) error {
	if r.Before != nil {
		if err := r.Before(func(page []T) error {
			for _, object := range page {
				if err := r.send("added", &entry[T]{id: r.feeds.kind.ID(object), object: object}); err != nil {
					return err
				}
			}
			return r.out.flush()
		}); err != nil {
			return err
		}
	} else {
		for _, e := range objects {
			if r.matches(e.object) {
				if err := r.send("added", e); err != nil {
					return err
				}
			}
		}
	}
	if err := r.out.event("synced", []byte("data: {}")); err != nil {
		return err
	}
	return r.out.flush()
}

// follow sends what changes.
func (r *reader[T]) follow(ctx context.Context, feed *feed[T], version uint64) error {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		changed, now, moved, err := feed.after(version, r.caller)
		if err != nil {
			return err
		}
		for _, e := range changed {
			if err := r.change(e); err != nil {
				return err
			}
		}
		if len(changed) > 0 {
			if err := r.out.flush(); err != nil {
				return err
			}
		}
		version = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-ping.C:
			if err := r.out.comment("ping"); err != nil {
				return err
			}
			r.forget()
		}
	}
}

// change sends the version of an object.
func (r *reader[T]) change(e *entry[T]) error {
	_, known := r.sent[e.id]
	match := !e.gone && r.matches(e.object)
	switch {
	case r.feeds.kind.Settle > 0 && known: // the reader began with it
		return nil
	case match && known:
		return r.send("modified", e)
	case match:
		return r.send("added", e)
	case known:
		err := r.send("deleted", e)
		delete(r.sent, e.id)
		return err
	default:
		return nil
	}
}

func (r *reader[T]) send(kind string, e *entry[T]) error {
	data, err := e.frames.of(r.redacted, func() ([]byte, error) {
		wire, err := r.feeds.kind.Wire(e.object, r.redacted)
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(wire)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, "id: %s\ndata: %s", r.id(e, data), data), nil
	})
	if err != nil {
		return err
	}
	at := time.Time{}
	if r.feeds.kind.Settle > 0 {
		at = r.feeds.kind.At(e.object)
	}
	if r.feeds.kind.Settle == 0 || time.Since(at) < 2*r.feeds.kind.Settle {
		r.sent[e.id] = at
	}
	if err := r.wait(len(data)); err != nil {
		return err
	}
	return r.out.event(kind, data)
}

// id identifies a version of an object, at every server. For objects that are only appended, it begins with the time, in microseconds, so
// that a later stream can begin there.
func (r *reader[T]) id(e *entry[T], data []byte) string {
	if r.feeds.kind.Settle > 0 {
		return fmt.Sprintf("%d-%s", r.feeds.kind.At(e.object).UnixMicro(), e.id)
	}
	sum := sha256.Sum256(data)
	return e.id.String() + "-" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// After returns the time from which a stream of objects that are only appended has to begin for a reader that has seen this id, and the zero
// time if the id is none of [Feeds.Stream].
func (f *Feeds[T]) After(lastID string) time.Time {
	text, _, _ := strings.Cut(lastID, "-")
	micros, err := strconv.ParseInt(text, 10, 64)
	if err != nil || micros < 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).Add(-f.kind.Settle)
}

// forget forgets objects that are only appended and cannot appear again.
func (r *reader[T]) forget() {
	if settle := r.feeds.kind.Settle; settle > 0 {
		for id, at := range r.sent {
			if time.Since(at) > 2*settle {
				delete(r.sent, id)
			}
		}
	}
}

// frames keeps an object as it is sent to all watches, with and without what viewers must not see.
type frames struct {
	mu   sync.Mutex
	data [2][]byte
}

// maxFrame is the largest form that is kept, in bytes. Larger ones are made again for each watch.
const maxFrame = 32 << 10

func (f *frames) of(redacted bool, encode func() ([]byte, error)) ([]byte, error) {
	i := 0
	if redacted {
		i = 1
	}
	f.mu.Lock()
	data := f.data[i]
	f.mu.Unlock()
	if data != nil {
		return data, nil
	}
	data, err := encode()
	if err == nil && len(data) <= maxFrame {
		f.mu.Lock()
		f.data[i] = data
		f.mu.Unlock()
	}
	return data, err
}

// eventStream writes server-sent events (WHATWG HTML, section 9.2). A reader that does not read is disconnected.
type eventStream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (e eventStream) event(kind string, fields []byte) error {
	return e.write("event: %s\n%s\n\n", kind, fields)
}

func (e eventStream) comment(text string) error {
	if err := e.write(": %s\n\n", text); err != nil {
		return err
	}
	return e.flush()
}

func (e eventStream) write(format string, args ...any) error {
	if err := e.c.SetWriteDeadline(time.Now().Add(request.WriteTimeout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.w, format, args...)
	return err
}

func (e eventStream) flush() error { return e.c.Flush() }
