package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreReadFromTheStream(t *testing.T) {
	t.Parallel()
	var got []string
	err := events(strings.NewReader(": ping\n\nevent: added\ndata: {\"a\":\ndata: 1}\n\nevent:synced\ndata:{}\n\nevent: cut\ndata: off"),
		func(e event) error { got = append(got, e.kind+" "+string(e.data)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`added {"a":1}`, `synced {}`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAWatchThatWasCutRepeatsAndLosesNothing(t *testing.T) {
	pod := func(id int, name, phase string) string {
		return fmt.Sprintf(`{"id":"00000000-0000-0000-0000-00000000000%d","name":%q,"status":{"phase":%q}}`, id, name, phase)
	}
	send := func(w http.ResponseWriter, kind, data string) { fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data) }
	var streams atomic.Int32
	_, out, _ := call(t, func(w http.ResponseWriter, _ *http.Request) {
		switch streams.Add(1) {
		case 1:
			send(w, "added", pod(1, "stays", "Running"))
			send(w, "added", pod(2, "goes", "Running"))
			send(w, "added", pod(3, "changes", "Pending"))
			send(w, "synced", "{}")
		case 2:
			send(w, "added", pod(1, "stays", "Running"))
			send(w, "added", pod(3, "changes", "Running"))
			send(w, "synced", "{}")
			send(w, "added", pod(4, "comes", "Pending"))
		default:
			problemOf(w, http.StatusUnauthorized, "unauthenticated", "", "enough")
		}
	}, "pods", "--watch", "-o", "name")
	want := "added pod/stays\nadded pod/goes\nadded pod/changes\nmodified pod/changes\ndeleted pod/goes\nadded pod/comes\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	call(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}, "version")
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"pods", "--watch"}, strings.NewReader(""), &out, &errs); code != exitInterrupted || errs.Len() != 0 {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

func TestASilentStreamIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		alive, wrap, stop := whileAlive(t.Context())
		defer stop()
		in, out := io.Pipe()
		context.AfterFunc(alive, func() { in.Close() }) // as net/http does
		go func() {
			for range 4 {
				time.Sleep(silence - time.Second)
				fmt.Fprint(out, ": ping\n\n")
			}
		}()
		start := time.Now()
		if err := events(wrap(in), func(event) error { return nil }); err == nil {
			t.Error("the stream ends by itself")
		}
		if took := time.Since(start); took != 4*(silence-time.Second)+silence {
			t.Errorf("given up after %s", took)
		}
	})
}
