// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// watchPing is how often a quiet stream sends a comment, so that proxies keep it open and a dead reader is noticed.
const watchPing = 15 * time.Second

// watch streams a tenant's objects as server-sent events. It holds no database connection: hints come from the listener of the process. At each hint it
// reads the list again and sends the difference to what it sent before. So it cannot miss a change, and a reader that reconnects gets the complete list
// again.
type watch[Ours, Wire any] struct {
	api        api
	ctx        context.Context //nolint:containedctx // the generated interface hands none on
	appendOnly bool            // objects that are no longer in the list are old, not deleted
	hints      func() (<-chan struct{}, func())
	read       func(store.Page) ([]Ours, string, error)
	id         func(Ours) store.ID
}

// VisitListPodsResponse streams until the reader leaves.
func (s watch[Ours, Wire]) VisitListPodsResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListVolumesResponse streams until the reader leaves.
func (s watch[Ours, Wire]) VisitListVolumesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListImagesResponse streams until the reader leaves.
func (s watch[Ours, Wire]) VisitListImagesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListEventsResponse streams until the reader leaves.
func (s watch[Ours, Wire]) VisitListEventsResponse(w http.ResponseWriter) error { return s.stream(w) }

func (s watch[Ours, Wire]) stream(w http.ResponseWriter) error {
	hint, done := s.hints()
	defer done()
	sent := map[store.ID]Ours{}
	now, err := allPages(s.read)
	if err != nil {
		return err
	}
	s.api.watchers.Inc()
	defer s.api.watchers.Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := eventStream{w, http.NewResponseController(w)}
	if s.send(out, sent, now) != nil || out.event("synced", "{}") != nil || out.flush() != nil {
		return nil //nolint:nilerr // the reader has disconnected
	}
	ping := time.NewTicker(watchPing)
	defer ping.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case <-ping.C:
			// Reading the list also checks the reader, whose token may have been revoked meanwhile.
			if err = out.comment("ping"); err == nil {
				err = s.again(out, sent)
			}
		case <-hint:
			err = s.again(out, sent)
		}
		if err != nil {
			s.api.log.Debug("a watch ended", "tenant", request.Of(s.ctx).Caller.TenantID, "error", err)
			return nil
		}
	}
}

func (s watch[Ours, Wire]) again(out eventStream, sent map[store.ID]Ours) error {
	now, err := allPages(s.read)
	if err != nil {
		return err
	}
	if err := s.send(out, sent, now); err != nil {
		return err
	}
	return out.flush()
}

// allPages reads a list to its end.
func allPages[T any](read func(store.Page) ([]T, string, error)) ([]T, error) {
	var all []T
	page := store.Page{Limit: request.MaxLimit}
	for {
		items, next, err := read(page)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		page.Cursor = next
	}
}

// send sends the differences to what was sent before, and records them.
func (s watch[Ours, Wire]) send(out eventStream, sent map[store.ID]Ours, now []Ours) error {
	here := make(map[store.ID]bool, len(now))
	for _, object := range now {
		id := s.id(object)
		here[id] = true
		before, known := sent[id]
		kind := "added"
		if known {
			if reflect.DeepEqual(before, object) {
				continue
			}
			kind = "modified"
		}
		if err := sendObject[Wire](out, kind, object); err != nil {
			return err
		}
		sent[id] = object
	}
	for id, object := range sent {
		if here[id] {
			continue
		}
		if !s.appendOnly {
			if err := sendObject[Wire](out, "deleted", object); err != nil {
				return err
			}
		}
		delete(sent, id)
	}
	return nil
}

func sendObject[Wire any](out eventStream, kind string, object any) error {
	wire, err := openapi.Recast[Wire](object)
	if err != nil {
		return err
	}
	data, err := json.Marshal(wire)
	if err != nil {
		return err
	}
	return out.event(kind, string(data))
}

// eventStream writes server-sent events (WHATWG HTML, section 9.2). A reader that does not read is disconnected.
type eventStream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (e eventStream) event(kind, data string) error {
	return e.write("event: %s\ndata: %s\n\n", kind, data)
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
