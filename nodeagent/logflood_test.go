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
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/guest/logring"
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
// many lines are missing.
func TestAFloodOfLogsIsBoundedByRateAndSize(t *testing.T) {
	t.Parallel()
	const seconds = 4
	a := &Agent{cfg: Config{StateDir: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	w := newWorker(t.Context(), a, husk.DesiredPod{ID: uuid.UUID{1}, Containers: []husk.DesiredContainer{{Name: "a"}, {Name: "b"}}})
	ctx, stop := context.WithCancel(t.Context())
	rings := map[string]*logring.Ring{}
	var pumps []chan struct{}
	for name, log := range w.logs {
		ring, done := logring.New(), make(chan struct{})
		rings[name] = ring
		host, end := net.Pipe()
		go guest.Serve(ctx, pipePort{end}, loggingGuest{ring: ring}) //nolint:errcheck // it ends with its host
		client, err := guest.Dial(ctx, host)
		if err != nil {
			t.Fatal(err)
		}
		pumps = append(pumps, done)
		go func() {
			defer close(done)
			defer client.Close() //nolint:errcheck // the test is over
			w.pump(ctx, client, "boot", name, log)
		}()
	}
	begin := time.Now()
	line := []byte(strings.Repeat("x", 1000))
	for range seconds * 10 {
		for range 2000 { // 20 MB per second and container
			for _, ring := range rings {
				ring.Add(guest.LogEntry{Time: time.Now(), Stream: guest.Stdout, Line: line})
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	for _, done := range pumps {
		<-done
	}
	written, kept := int64(0), int64(0)
	for _, log := range w.logs {
		var lines, dropped uint64
		r := logReader{path: log.path}
		if err := r.next(func(l logLine) error { lines++; dropped += l.Dropped; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		if dropped == 0 || lines == 0 {
			t.Errorf("a reader gets %d lines and is told that %d were dropped", lines, dropped)
		}
		written += int64(log.seq-log.missing) * int64(len(line))
		files, err := filepath.Glob(log.path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			kept += info.Size()
		}
	}
	took := time.Since(begin)
	if most := int64(logBurst + took.Seconds()*logRate); written > most || written < most/4 {
		t.Errorf("the pod has written %d bytes in %d s, want about %d", written, int(took.Seconds()), most)
	}
	if kept > maxPodLogs {
		t.Errorf("the pod's logs have %d bytes", kept)
	}
	w.cancel()
	w.closeLogs()
}

func TestTheLogsOfAPodHaveALimitForAnyNumberOfContainers(t *testing.T) {
	t.Parallel()
	for containers := range 17 {
		if limit := logFileLimit(containers); limit < 1<<20 || limit > maxLogFile || 2*limit*int64(containers) > maxPodLogs {
			t.Errorf("each of the two files of each of %d containers has at most %d bytes", containers, limit)
		}
	}
}
