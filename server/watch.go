package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"husk"
	"husk/openapi"
	"husk/store"
)

// watchPing is how often a quiet stream carries a comment, so that proxies keep it and a dead reader is noticed.
const watchPing = 15 * time.Second

// podWatch streams a tenant's pods as server-sent events. It holds no database connection: hints come from the one listener of the
// process, and each hint makes it read the list again and send the difference to what it sent before. Nothing can be lost that way.
type podWatch struct {
	server *Server
	ctx    context.Context //nolint:containedctx // the generated interface hands none on
	tenant store.ID
	name   *string
}

// VisitListPodsResponse streams until the reader leaves.
func (p podWatch) VisitListPodsResponse(w http.ResponseWriter) error {
	hint, done := p.server.store.WatchTenant(p.tenant)
	defer done()
	sent := map[store.ID]husk.Pod{}
	order, err := p.read()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := eventStream{w, http.NewResponseController(w)}
	if p.send(out, sent, order) != nil || out.event("synced", "{}") != nil {
		return nil //nolint:nilerr // the reader has gone; the header is sent, so there is nobody to tell
	}
	ping := time.NewTicker(watchPing)
	defer ping.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case <-ping.C:
			err = out.comment("ping")
		case <-hint:
			if order, err = p.read(); err == nil {
				err = p.send(out, sent, order)
			}
		}
		if err != nil {
			p.server.log.Debug("watch ends", "tenant", p.tenant, "error", err)
			return nil
		}
	}
}

func (p podWatch) read() ([]husk.Pod, error) {
	var all []husk.Pod
	page := store.Page{Limit: 1000}
	for {
		pods, next, err := p.server.store.Pods(p.ctx, p.tenant, page, p.name)
		if err != nil {
			return nil, err
		}
		all = append(all, pods...)
		if next == "" {
			return all, nil
		}
		page.Cursor = next
	}
}

// send writes what differs from what was sent, and remembers it.
func (p podWatch) send(out eventStream, sent map[store.ID]husk.Pod, now []husk.Pod) error {
	here := make(map[store.ID]bool, len(now))
	for _, pod := range now {
		here[pod.ID] = true
		before, known := sent[pod.ID]
		kind := "added"
		if known {
			if reflect.DeepEqual(before, pod) {
				continue
			}
			kind = "modified"
		}
		if err := out.pod(kind, pod); err != nil {
			return err
		}
		sent[pod.ID] = pod
	}
	for id, pod := range sent {
		if !here[id] {
			if err := out.pod("deleted", pod); err != nil {
				return err
			}
			delete(sent, id)
		}
	}
	return nil
}

// eventStream writes server-sent events (WHATWG HTML, section 9.2) and flushes each. A reader who does not read is cut off.
type eventStream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

const writeTimeout = 30 * time.Second

func (e eventStream) pod(kind string, pod husk.Pod) error {
	wire, err := openapi.Recast[openapi.Pod](pod)
	if err != nil {
		return err
	}
	data, err := json.Marshal(wire)
	if err != nil {
		return err
	}
	return e.event(kind, string(data))
}

func (e eventStream) event(kind, data string) error {
	return e.write("event: %s\ndata: %s\n\n", kind, data)
}

func (e eventStream) comment(text string) error { return e.write(": %s\n\n", text) }

func (e eventStream) write(format string, args ...any) error {
	if err := e.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.w, format, args...); err != nil {
		return err
	}
	return e.c.Flush()
}
