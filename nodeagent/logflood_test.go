// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/guest"
	"husk/guest/logring"
	"husk/nodeagent/podlog"
)

// pipePort is the guest's end of a channel.
type pipePort struct{ net.Conn }

func (pipePort) WaitHost() error { return errors.New("the host has gone") }

// loggingGuest is a guest. The test calls only its method Logs.
type loggingGuest struct {
	guest.Handler
	ring *logring.Ring
}

func (g loggingGuest) Logs(ctx context.Context, _ string, after uint64, follow bool, emit func([]guest.LogEntry) error) error {
	return g.ring.CopyTo(ctx, after, follow, emit)
}

// Two containers print as much as the channel can carry. The node's disk does not fill up, the rate stays limited, and a reader learns how
// many bytes are missing.
func TestAFloodOfLogsIsBoundedByRateAndSize(t *testing.T) {
	t.Parallel()
	const seconds = 4
	a := &Agent{cfg: Config{StateDir: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	a.metrics = &metrics{logDropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "test"})}
	w := newWorker(t.Context(), a, husk.DesiredPod{ID: uuid.UUID{1}, Containers: []husk.DesiredContainer{{Name: "a"}, {Name: "b"}}})
	ctx, stop := context.WithCancel(t.Context())
	var ends, writers sync.WaitGroup
	var sent atomic.Int64
	begin := time.Now()
	line := []byte(strings.Repeat("x", 999) + "\n")
	for name, log := range w.logs {
		ring := logring.New()
		host, end := net.Pipe()
		go guest.Serve(ctx, pipePort{end}, loggingGuest{ring: ring}) //nolint:errcheck // it ends with its host
		client, err := guest.Dial(ctx, host)
		if err != nil {
			t.Fatal(err)
		}
		ends.Go(func() {
			defer client.Close() //nolint:errcheck // the test is over
			w.pump(ctx, client, "boot", name, log)
		})
		if name == "a" {
			defer log.Attach()() // its client gets everything, so it need not wait for its log
		}
		writers.Go(func() {
			for time.Since(begin) < seconds*time.Second {
				ring.Add(guest.LogEntry{Time: time.Now(), Stream: guest.Stdout, Bytes: line}, func() time.Duration { return time.Minute })
				sent.Add(int64(len(line)))
			}
			ring.Close()
		})
	}
	writers.Wait()
	took := time.Since(begin)
	ends.Wait()
	stop()
	stored, missing, kept := int64(0), uint64(0), int64(0)
	for name, log := range w.logs {
		out := &counter{}
		if err := log.Stream(t.Context(), podlog.Selection{Tail: -1}, false, out); err != nil {
			t.Fatal(err)
		}
		if name == "a" && out.missing == 0 || out.lines == 0 {
			t.Errorf("a reader of %s gets %d lines and is told that %d bytes are missing", name, out.lines, out.missing)
		}
		stored, missing = stored+out.bytes, missing+out.missing
		files, err := filepath.Glob(filepath.Join(a.podDir(w.id), "logs", name+"*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			kept += info.Size()
		}
	}
	if stored+int64(missing) != sent.Load() {
		t.Errorf("of %d bytes, %d are stored and %d are said to be missing", sent.Load(), stored, missing)
	}
	if most := podlog.Burst + (took.Seconds()+1)*podlog.Rate; float64(kept) > most || kept < podlog.Burst/2 {
		t.Errorf("the pod has %d bytes on the node after %d s, want about %.0f", kept, int(took.Seconds()), most)
	}
	w.cancel()
	w.closeLogs()
}

// counter counts what a reader of a log gets.
type counter struct {
	lines   int
	bytes   int64
	missing uint64
}

func (c *counter) Write(l podlog.Line) error {
	c.lines++
	c.bytes += int64(len(l.Bytes))
	if !l.Partial {
		c.bytes++
	}
	c.missing += l.Lost.Bytes
	return nil
}

func (c *counter) Flush() error { return nil }
