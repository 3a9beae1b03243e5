// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"husk"
	"husk/limits"
	"husk/nodeagent/translate"
	"husk/openapi"
)

const (
	// sampleEvery is how often all pods are sampled.
	sampleEvery = 10 * time.Second
	// guestPatience is how long a guest may take to respond, and guestsAtOnce is how many are asked
	// at the same time. So a guest that hangs delays the samples of other pods by at most
	// guestPatience.
	guestPatience = 2 * time.Second
	guestsAtOnce  = 32
	// samplesAtOnce is how many pods one report contains at most.
	samplesAtOnce = limits.SampleItems
)

// sampleLoop periodically reports the resource usage of the pods. A sample that cannot be reported
// in time is dropped.
func (a *Agent) sampleLoop(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		start := time.Now()
		samples, err := a.sample(ctx)
		for batch := range slices.Chunk(samples, samplesAtOnce) {
			if err == nil {
				err = a.server.samples(ctx, batch)
			}
		}
		a.metrics.samples.Observe(time.Since(start).Seconds())
		if err != nil && ctx.Err() == nil {
			a.log.Warn("samples not reported; sampling again", "error", err, "after", sampleEvery)
		}
	}
}

// sample reads the usage of all pods in one pass: of the machines in one call to libvirt, and of
// guestsAtOnce guests at the same time.
func (a *Agent) sample(ctx context.Context) ([]husk.PodSample, error) {
	machines, err := a.vms.Stats(ctx)
	if err != nil {
		return nil, err
	}
	traffic, err := a.net.Traffic(slices.Collect(maps.Keys(machines))...)
	if err != nil {
		return nil, err
	}
	spoofed, err := a.net.Spoofed(ctx)
	if err != nil {
		a.log.Warn("the packets that were dropped because of their source cannot be counted; retrying", "error", err)
	}
	a.mu.Lock()
	workers := make([]*worker, 0, len(a.workers))
	for id, w := range a.workers {
		if _, runs := machines[id]; runs { // ignore machines of others on the same libvirt
			workers = append(workers, w)
		}
	}
	a.mu.Unlock()
	samples := make([]husk.PodSample, len(workers))
	var asking sync.WaitGroup
	turns := make(chan struct{}, guestsAtOnce)
	for i, w := range workers {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			samples[i] = translate.Sample(w.id, machines[w.id], traffic[w.id])
			samples[i].NetworkSpoofedPackets = spoofed[w.id]
			samples[i].Guest = w.askGuest(ctx)
			if err := w.history.Add(time.Now(), samples[i]); err != nil && !errors.Is(err, fs.ErrNotExist) { // the pod was removed meanwhile
				w.log.Warn("a minute is missing in the history of the pod", "error", err)
			}
		})
	}
	asking.Wait()
	return samples, nil
}

// getHistory serves GetPodStatsHistory.
func (a *Agent) getHistory(w http.ResponseWriter, r *http.Request) {
	worker := a.workerOf(r)
	if worker == nil {
		problem(w, husk.NotFound("pod on this node"), http.StatusNotFound)
		return
	}
	var since time.Time
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			problem(w, husk.Errorf(husk.CodeInvalid, "since", "since must be an RFC 3339 time"), http.StatusUnprocessableEntity)
			return
		}
	}
	points, err := worker.history.Read(since, time.Now())
	if err != nil {
		worker.log.Error("the history of the pod cannot be read", "error", err)
		problem(w, husk.Errorf(husk.CodeInternal, "", "the node cannot read the history of the pod"), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(openapi.PodStatsHistory{Points: points}); err != nil {
		worker.log.Debug("history not sent completely", "error", err)
	}
}

// askGuest returns nil if the guest does not respond. It also corrects the clock of the guest.
func (w *worker) askGuest(ctx context.Context) *husk.GuestSample {
	c := w.guest.Load()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	asked := time.Now()
	stats, err := c.Stats(ctx)
	if err != nil {
		return nil
	}
	w.setClock(ctx, c, stats, asked, time.Now())
	desired, _ := w.current()
	return translate.GuestSample(stats, desired)
}
