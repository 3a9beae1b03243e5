// SPDX-License-Identifier: Apache-2.0

package names

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/service"
)

const (
	pollWait   = 25 * time.Second // a request for changes stays open for so long
	maxRetry   = 15 * time.Second
	maxAnswer  = 64 << 20 // bytes
	zoneEnding = ".json"
)

// Set is the name servers of a node, one for each network. It keeps their zones in files, so that names resolve after a restart of the agent even
// if no server of the control plane can be reached.
type Set struct {
	cfg Config
	dir string

	mu      sync.Mutex
	servers map[uuid.UUID]*Server
	zones   map[uuid.UUID]service.Zone
	serving map[uuid.UUID]func()        // ends it; the caller holds mu
	ending  map[uuid.UUID]chan struct{} // closed when the last server that was told to end has ended
}

// Open returns the set whose zones are in this directory, which it creates if necessary.
func Open(dir string, cfg Config) (*Set, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of names: %w", err)
	}
	s := &Set{cfg: cfg, dir: dir, servers: map[uuid.UUID]*Server{}, zones: map[uuid.UUID]service.Zone{}, serving: map[uuid.UUID]func(){}, ending: map[uuid.UUID]chan struct{}{}}
	files, err := filepath.Glob(filepath.Join(dir, "*"+zoneEnding))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := s.load(file); err != nil { // the server sends it again
			cfg.Log.Warn("the stored names of a network cannot be read; waiting for the server to send them", "file", file, "error", err)
			if err := os.Remove(file); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *Set) load(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var z service.Zone
	if err := json.Unmarshal(raw, &z); err != nil {
		return err
	}
	if z.NetworkID.String()+zoneEnding != filepath.Base(file) {
		return errors.New("it is the file of another network")
	}
	return s.replace(z)
}

// Server returns the name server of a network. Its zone may not be known yet.
func (s *Set) Server(network uuid.UUID) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[network] == nil {
		s.servers[network] = New(s.cfg)
	}
	return s.servers[network]
}

// Metrics returns the metrics of all servers.
func (s *Set) Metrics() *Metrics { return s.cfg.Metrics }

// Follow keeps the zones current until ctx ends.
func (s *Set) Follow(ctx context.Context, api *agentclient.Client) {
	const firstRetry = 100 * time.Millisecond
	for wait := firstRetry; ctx.Err() == nil; {
		u, err := s.fetch(ctx, api)
		if err == nil {
			err = s.Apply(u)
		}
		if err == nil {
			wait = firstRetry
			continue
		}
		if ctx.Err() == nil {
			s.cfg.Metrics.errors.Inc()
			s.cfg.Log.Warn("cannot get the names of the node's networks; retrying", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // jitter needs no secrecy
		}
		wait = min(2*wait, maxRetry)
	}
}

// fetch returns what differs from the zones that are known, once something does.
func (s *Set) fetch(ctx context.Context, api *agentclient.Client) (u service.Update, _ error) {
	wait := int(pollWait.Seconds())
	request := openapi.NamesRequest{Known: []openapi.KnownZone{}, WaitSeconds: &wait}
	s.mu.Lock()
	for network, z := range s.zones {
		request.Known = append(request.Known, openapi.KnownZone{NetworkID: network, Version: z.Version})
	}
	s.mu.Unlock()
	resp, err := api.GetNames(ctx, request)
	if err != nil {
		return u, fmt.Errorf("get names: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return u, fmt.Errorf("get names: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return u, fmt.Errorf("get names: the server responded %s: %.500s", resp.Status, strings.TrimSpace(string(raw)))
	}
	return u, json.Unmarshal(raw, &u)
}

// Apply replaces the zones that have changed.
func (s *Set) Apply(u service.Update) error {
	var failures []error
	for _, changes := range u.Zones {
		z, err := s.changed(changes)
		if err == nil {
			err = s.replace(z)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the names of the network %s: %w", changes.NetworkID, err))
			continue
		}
		if err := s.store(z); err != nil { // it only matters after a restart
			s.cfg.Log.Warn("the names of a network cannot be stored", "network", z.NetworkID, "error", err)
		}
	}
	for _, network := range u.RemovedNetworks {
		s.forget(network)
	}
	return errors.Join(failures...)
}

// changed returns the zone after changes. If they do not fit, the next request asks for the whole zone.
func (s *Set) changed(changes service.Zone) (service.Zone, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z, err := s.zones[changes.NetworkID].With(changes)
	if err != nil {
		delete(s.zones, changes.NetworkID)
	}
	return z, err
}

func (s *Set) replace(z service.Zone) error {
	server := s.Server(z.NetworkID)
	if err := server.Replace(z); err != nil {
		return err
	}
	if c := server.zone.Load(); s.cfg.Ranges != nil && c != nil {
		s.cfg.Ranges(z.NetworkID, c.ranges)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[z.NetworkID] = z
	s.cfg.Metrics.zones.Set(float64(len(s.zones)))
	return nil
}

// forget removes a network that has no pods on the node any more. A server that still has its listeners answers that it has failed.
func (s *Set) forget(network uuid.UUID) {
	if s.cfg.Ranges != nil {
		s.cfg.Ranges(network, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if server := s.servers[network]; server != nil {
		server.zone.Store(nil)
	}
	if s.serving[network] == nil {
		delete(s.servers, network)
	}
	delete(s.zones, network)
	s.cfg.Metrics.zones.Set(float64(len(s.zones)))
	if err := os.Remove(s.file(network)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.cfg.Log.Warn("the stored names of a network cannot be removed", "network", network, "error", err)
	}
}

func (s *Set) file(network uuid.UUID) string {
	return filepath.Join(s.dir, network.String()+zoneEnding)
}

// store writes a zone without waiting for the disk: the server sends what is lost in a crash.
func (s *Set) store(z service.Zone) error {
	raw, err := json.Marshal(z)
	if err != nil {
		return err
	}
	next := s.file(z.NetworkID) + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.file(z.NetworkID))
}
