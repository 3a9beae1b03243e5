package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"husk/openapi"
)

// event is one server-sent event of the watch: added, modified, deleted, or synced without an object.
type event struct {
	kind string
	data []byte
}

// maxEvent bounds one line of the stream; a pod's specification is at most half a mebibyte.
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

// silence is how long a stream may say nothing before it is taken for lost. The API says something every 15 seconds.
const silence = 50 * time.Second

// whileAlive returns a context that ends when what is read through wrap has been silent for too long.
func whileAlive(ctx context.Context) (alive context.Context, wrap func(io.Reader) io.Reader, stop func()) {
	alive, cancel := context.WithCancel(ctx)
	t := time.AfterFunc(silence, cancel)
	t.Stop() // until there is a stream
	return alive, func(r io.Reader) io.Reader { t.Reset(silence); return heard{r, t} }, func() { t.Stop(); cancel() }
}

// heard puts the end of patience off whenever something is read.
type heard struct {
	r io.Reader
	t *time.Timer
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.t.Reset(silence)
	}
	return n, err
}

// watcher prints changes. It remembers what it printed, so that a stream that was cut and opened again repeats and loses nothing.
type watcher[T any] struct {
	resource resource[T]
	view     view[T]
	printer  printer
	table    *table
	wanted   []string

	headed  bool
	printed map[string]string // by id: the object's JSON
	rows    map[string]string // by id: its row, without its age
	last    map[string]T
	seen    map[string]bool // since the stream was opened; nil once it is synced
}

// watchChanges prints objects and their changes until ctx ends; a stream that breaks is opened again.
func watchChanges[T any](ctx context.Context, a *app, c *openapi.Client, r resource[T], p printer, q query, wanted []string) error {
	w := &watcher[T]{
		resource: r, view: r.viewFor(ctx, c, p), printer: p, table: p.table(), wanted: wanted,
		printed: map[string]string{}, rows: map[string]string{}, last: map[string]T{},
	}
	lost := false
	for attempt := 1; ; attempt++ {
		alive, wrap, stop := whileAlive(ctx)
		resp, err := r.watch(alive, c, q) //nolint:bodyclose // closed below, or by checked
		err = checked(resp, err)
		if _, unreachable := errors.AsType[unreachableError](err); err != nil && (!unreachable && exitCode(err) != exitUnavailable || attempt == 1 && !lost) {
			stop()
			return err
		}
		if err == nil {
			if lost {
				a.hint("the watch goes on")
			}
			w.seen = map[string]bool{}
			err = events(wrap(resp.Body), func(e event) error {
				attempt = 1
				return w.take(e)
			})
			resp.Body.Close()
			lost = false
		}
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if broken, ok := errors.AsType[printError](err); ok {
			return broken.error
		}
		if !lost && attempt > 1 { // a server that restarts is met again at once, and nobody needs to know
			a.hint("the connection is lost; trying again")
			lost = true
		}
		if err := wait(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// printError is a failure that opening the stream again would not mend.
type printError struct{ error }

func (w *watcher[T]) take(e event) error {
	if e.kind == "synced" {
		return w.synced()
	}
	var item T
	if err := json.Unmarshal(e.data, &item); err != nil {
		return printError{fmt.Errorf("the watch sent what is not a %s: %w", w.resource.kind, err)}
	}
	if !w.resource.match(item, w.wanted) {
		return nil
	}
	id := w.resource.id(item)
	kind := e.kind
	if w.seen != nil {
		w.seen[id] = true
		if w.printed[id] == string(e.data) {
			return nil
		}
	}
	if _, known := w.printed[id]; known && kind == "added" { // again, by a stream that was opened again
		kind = "modified"
	}
	w.printed[id] = string(e.data)
	return w.print(kind, item)
}

// synced finds what was deleted while no stream was open.
func (w *watcher[T]) synced() error {
	var gone []string
	for id := range w.last {
		if !w.seen[id] && !w.resource.history {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	for _, id := range gone {
		if err := w.print("deleted", w.last[id]); err != nil {
			return err
		}
	}
	w.seen = nil
	return nil
}

func (w *watcher[T]) print(kind string, item T) error {
	id := w.resource.id(item)
	before := w.rows[id]
	if kind == "deleted" {
		delete(w.printed, id)
		delete(w.last, id)
		delete(w.rows, id)
	} else {
		w.last[id] = item
	}
	var err error
	switch w.printer.format {
	case "json":
		e := json.NewEncoder(w.printer.out)
		e.SetEscapeHTML(false)
		err = e.Encode(map[string]any{"type": kind, "object": item})
	case "yaml":
		if _, err = fmt.Fprintln(w.printer.out, "---"); err == nil {
			err = writeYAML(w.printer.out, map[string]any{"type": kind, "object": item})
		}
	case "name":
		_, err = fmt.Fprintln(w.printer.out, kind, w.view.ref(item))
	default:
		row := w.view.row(w.printer.format, item)
		if kind != "deleted" {
			w.rows[id] = strings.Join(w.lasting(row), "\x00")
			if kind == "modified" && w.rows[id] == before {
				return nil // what has changed is in none of the columns
			}
		}
		err = w.row(kind, row)
	}
	if err != nil {
		return printError{err}
	}
	return nil
}

func (w *watcher[T]) row(kind string, row []string) error {
	var rows [][]string
	if !w.headed && !w.printer.noHeaders {
		rows = append(rows, append([]string{"EVENT"}, w.view.header(w.printer.format)...))
	}
	w.headed = true
	return w.table.rows(append(rows, append([]string{kind}, row...))...)
}

// lasting is a row without its age, which changes by itself.
func (w *watcher[T]) lasting(row []string) []string {
	var out []string
	for i, title := range w.view.header(w.printer.format) {
		if title != "AGE" {
			out = append(out, row[i])
		}
	}
	return out
}
