package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"husk/openapi"
)

// event is one server-sent event of the watch: added, modified, deleted, or synced without a pod.
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

// watcher prints changes. It remembers what it printed, so that a stream that was cut and opened again repeats and loses nothing.
type watcher struct {
	out     io.Writer
	format  string
	printed map[string]string // by id: the pod's JSON
	last    map[string]openapi.Pod
	seen    map[string]bool // since the stream was opened; nil once it is synced
}

// watchPods prints pods and their changes until ctx ends; a cut stream is opened again.
func watchPods(ctx context.Context, c *openapi.Client, out io.Writer, format string) error {
	w := &watcher{out: out, format: format, printed: map[string]string{}, last: map[string]openapi.Pod{}}
	yes := true
	for attempt := 1; ; attempt++ {
		resp, err := c.ListPods(ctx, &openapi.ListPodsParams{Watch: &yes})
		if err := checked(resp, err); err != nil {
			return err
		}
		w.seen = map[string]bool{}
		err = events(resp.Body, func(e event) error {
			attempt = 1
			return w.take(e)
		})
		resp.Body.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, broken := err.(printError); broken { //nolint:errorlint // ours, and never wrapped
			return err
		}
		if err := backoff(ctx, min(attempt, attempts)); err != nil {
			return err
		}
	}
}

// printError is a failure that opening the stream again would not mend.
type printError struct{ error }

func (w *watcher) take(e event) error {
	if e.kind == "synced" {
		for id, pod := range w.last {
			if !w.seen[id] {
				if err := w.print("deleted", pod); err != nil {
					return err
				}
			}
		}
		w.seen = nil
		return nil
	}
	var pod openapi.Pod
	if err := json.Unmarshal(e.data, &pod); err != nil {
		return printError{fmt.Errorf("the watch sent what is not a pod: %w", err)}
	}
	id := pod.ID.String()
	if w.seen != nil {
		w.seen[id] = true
		if w.printed[id] == string(e.data) {
			return nil
		}
	}
	w.printed[id] = string(e.data)
	return w.print(e.kind, pod)
}

func (w *watcher) print(kind string, pod openapi.Pod) error {
	id := pod.ID.String()
	first := len(w.last) == 0 && kind == "added"
	if kind == "deleted" {
		delete(w.printed, id)
		delete(w.last, id)
	} else {
		w.last[id] = pod
	}
	var err error
	switch w.format {
	case "json":
		e := json.NewEncoder(w.out)
		e.SetEscapeHTML(false)
		err = e.Encode(map[string]any{"type": kind, "object": pod})
	case "yaml":
		fmt.Fprintln(w.out, "---")
		err = writeYAML(w.out, map[string]any{"type": kind, "object": pod})
	case "name":
		_, err = fmt.Fprintln(w.out, kind, pod.Name)
	default:
		t := tabwriter.NewWriter(w.out, 10, 0, 3, ' ', 0)
		if first {
			podView.header(t, w.format, "EVENT")
		}
		podView.row(t, w.format, pod, kind)
		err = t.Flush()
	}
	if err != nil {
		return printError{err}
	}
	return nil
}
