// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ChangeType says what happened to an object.
type ChangeType string

// The types of changes.
const (
	Added    ChangeType = "added"
	Modified ChangeType = "modified"
	Deleted  ChangeType = "deleted"
	// Synced has no object. It says that all objects that existed when the connection was opened have been yielded. It comes again after
	// a lost connection was reopened.
	Synced ChangeType = "synced"
)

// Change is one event of a watch.
type Change[T any] struct {
	Type   ChangeType
	Object T // as it is now, or as it was before it was deleted
}

// WatchOptions narrow a watch, and have callbacks for the state of its connection.
type WatchOptions struct {
	Select

	Disconnected func(err error) // the connection is lost, and could not be reopened at once; may be nil
	Reconnected  func()          // it is open again; may be nil
}

// watcher turns streams of server-sent events into one sequence of changes. It remembers the objects, so that no change is repeated or
// missed when a stream is lost and opened again.
type watcher[T any] struct {
	kind string // of the objects, for errors
	id   func(T) string
	// open opens a stream.
	open func(ctx context.Context) (*http.Response, error)
	// history means that an object that a new stream does not list was not deleted; it is only too old to be listed.
	history bool

	known map[string]known[T] // by ID
	seen  map[string]bool     // IDs since the stream was opened; nil once it is synced
}

type known[T any] struct {
	object T
	raw    string // its JSON
}

// errStopped says that the caller has left the loop over a sequence.
var errStopped = errors.New("the loop has ended")

// decodeError says that an event does not match the contract. Opening the stream again would not help.
type decodeError struct{ error }

func (w *watcher[T]) changes(ctx context.Context, o WatchOptions) iter.Seq2[Change[T], error] {
	return func(yield func(Change[T], error) bool) {
		w.known = map[string]known[T]{}
		err := w.run(ctx, o, func(kind ChangeType, object T) error {
			if !yield(Change[T]{kind, object}, nil) {
				return errStopped
			}
			return nil
		})
		if !errors.Is(err, errStopped) {
			yield(Change[T]{}, err)
		}
	}
}

// run opens one stream after the other until ctx ends or an error is permanent.
func (w *watcher[T]) run(ctx context.Context, o WatchOptions, take func(ChangeType, T) error) error {
	lost := false
	for attempt := 1; ; attempt++ {
		alive, wrap, stop := whileAlive(ctx)
		resp, err := w.open(alive) //nolint:bodyclose // closed below, or by Check
		err = Check(resp, err)
		if err != nil && (!temporary(err) || attempt == 1 && !lost) {
			stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		if err == nil {
			if lost && o.Reconnected != nil {
				o.Reconnected()
			}
			lost = false
			w.seen = map[string]bool{}
			err = events(wrap(resp.Body), func(e event) error {
				attempt = 1
				return w.take(e, take)
			})
			resp.Body.Close()
		}
		stop()
		if errors.Is(err, errStopped) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if broken, ok := errors.AsType[decodeError](err); ok {
			return broken.error
		}
		if !lost && attempt > 1 { // a server that restarts is back at once, and nobody needs to know
			if o.Disconnected != nil {
				o.Disconnected(err)
			}
			lost = true
		}
		if err := pause(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

func (w *watcher[T]) take(e event, take func(ChangeType, T) error) error {
	if e.kind == string(Synced) {
		return w.synced(take)
	}
	var object T
	if err := json.Unmarshal(e.data, &object); err != nil {
		return decodeError{fmt.Errorf("the watch sent something that is not a %s: %w", w.kind, err)}
	}
	id, kind := w.id(object), ChangeType(e.kind)
	before, had := w.known[id]
	if w.seen != nil {
		w.seen[id] = true
		if had && before.raw == string(e.data) {
			return nil
		}
	}
	switch {
	case kind == Deleted:
		delete(w.known, id)
		return take(kind, object)
	case kind == Added && had: // a new stream sends every object as added
		kind = Modified
	}
	w.known[id] = known[T]{object, string(e.data)}
	return take(kind, object)
}

// synced finds what was deleted while no stream was open.
func (w *watcher[T]) synced(take func(ChangeType, T) error) error {
	var gone []string
	for id := range w.known {
		if !w.seen[id] && !w.history {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	for _, id := range gone {
		object := w.known[id].object
		delete(w.known, id)
		if err := take(Deleted, object); err != nil {
			return err
		}
	}
	w.seen = nil
	var none T
	return take(Synced, none)
}

// event is one server-sent event: added, modified, deleted, or synced without an object.
type event struct {
	kind string
	data []byte
}

// maxEvent is the maximum length of one line of the stream, in bytes. A pod's spec has at most half a mebibyte.
const maxEvent = 4 << 20

// events reads server-sent events until the stream ends or take fails.
func events(r io.Reader, take func(event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var e event
	for lines.Scan() {
		field, text, _ := strings.Cut(lines.Text(), ":")
		text = strings.TrimPrefix(text, " ")
		switch field {
		case "event":
			e.kind = text
		case "data":
			e.data = append(e.data, text...)
		case "":
			if lines.Text() == "" && e.kind != "" {
				if err := take(e); err != nil {
					return err
				}
				e = event{}
			}
		}
	}
	return lines.Err()
}

// silence is how long a stream may be silent before it counts as lost. The API sends something every 15 seconds.
const silence = 50 * time.Second

// whileAlive returns a context that ends when a stream has been silent for too long. The caller must read the stream through the function
// wrap.
func whileAlive(ctx context.Context) (alive context.Context, wrap func(io.Reader) io.Reader, stop func()) {
	alive, cancel := context.WithCancel(ctx)
	t := time.AfterFunc(silence, cancel)
	t.Stop() // until there is a stream
	return alive, func(r io.Reader) io.Reader { t.Reset(silence); return heard{r, t} }, func() { t.Stop(); cancel() }
}

// heard resets the timer whenever something is read.
type heard struct {
	r io.Reader
	t *time.Timer
}

// Read implements io.Reader.
func (h heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.t.Reset(silence)
	}
	return n, err
}
