// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"husk/store/edge"
)

// storage keeps certificates, keys and accounts in Postgres, where all processes find them.
type storage struct{}

// CaddyModule implements caddy.Module.
func (storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.husk", New: func() caddy.Module { return new(storage) }}
}

// CertMagicStorage implements caddy.StorageConverter.
func (s storage) CertMagicStorage() (certmagic.Storage, error) { return s, nil }

// Store implements certmagic.Storage.
func (storage) Store(ctx context.Context, key string, value []byte) error {
	return running.Load().Store.Put(ctx, key, value)
}

// Load implements certmagic.Storage.
func (storage) Load(ctx context.Context, key string) ([]byte, error) {
	v, err := running.Load().Store.Get(ctx, key)
	return v.Data, absent(err)
}

// absent is what certmagic expects for a value that does not exist.
func absent(err error) error {
	if errors.Is(err, edge.ErrNone) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// Delete implements certmagic.Storage.
func (storage) Delete(ctx context.Context, key string) error {
	return running.Load().Store.Remove(ctx, key)
}

// Exists implements certmagic.Storage.
func (storage) Exists(ctx context.Context, key string) bool {
	keys, err := running.Load().Store.Keys(ctx, key)
	for _, k := range keys {
		if k == key || strings.HasPrefix(k, key+"/") {
			return err == nil
		}
	}
	return false
}

// List implements certmagic.Storage.
func (storage) List(ctx context.Context, dir string, recursive bool) ([]string, error) {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	if dir == "" {
		prefix = ""
	}
	keys, err := running.Load().Store.Keys(ctx, prefix)
	if err != nil || recursive {
		return keys, err
	}
	var children []string
	for _, key := range keys { // in order, so those of one directory follow each other
		child, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		if child = path.Join(prefix, child); len(children) == 0 || children[len(children)-1] != child {
			children = append(children, child)
		}
	}
	return children, nil
}

// Stat implements certmagic.Storage.
func (s storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	v, err := running.Load().Store.Get(ctx, key)
	if errors.Is(err, edge.ErrNone) && s.Exists(ctx, key) {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return certmagic.KeyInfo{Key: key, Modified: v.Modified, Size: int64(len(v.Data)), IsTerminal: true}, absent(err)
}

// Lock implements certmagic.Locker.
func (storage) Lock(ctx context.Context, name string) error { return running.Load().lock(ctx, name) }

// Unlock implements certmagic.Locker.
func (storage) Unlock(ctx context.Context, name string) error {
	return running.Load().unlock(ctx, name)
}

// locks are those that this process has, or waits for.
type locks struct {
	mu       sync.Mutex
	held     map[string]*heldLock
	released map[string]time.Time // lately
}

type heldLock struct {
	free chan struct{} // closed when the lock is released
	stop context.CancelFunc
}

func newLocks() *locks {
	return &locks{held: map[string]*heldLock{}, released: map[string]time.Time{}}
}

// lockPoll is how often a process asks for a lock that another one has.
const lockPoll = 250 * time.Millisecond

// lock waits for a lock, within this process and then among all, and renews it until unlock.
func (p *process) lock(ctx context.Context, name string) error {
	mine := &heldLock{free: make(chan struct{})}
	for {
		p.locks.mu.Lock()
		other := p.locks.held[name]
		if other == nil {
			p.locks.held[name] = mine
		}
		polite := time.Until(p.locks.released[name].Add(2 * lockPoll)) // another process gets its turn
		p.locks.mu.Unlock()
		if other == nil && polite <= 0 {
			break
		}
		if other == nil {
			select {
			case <-ctx.Done():
				p.locks.release(name, mine)
				return ctx.Err()
			case <-time.After(polite):
			}
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-other.free:
		}
	}
	for {
		taken, err := p.Store.TryLock(ctx, name)
		if err == nil && taken {
			break
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(lockPoll):
				continue
			}
		}
		p.locks.release(name, mine)
		return fmt.Errorf("lock %s: %w", name, err)
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.locks.mu.Lock()
	mine.stop = stop
	p.locks.mu.Unlock()
	go func() { // ends with unlock
		tick := time.NewTicker(edge.RenewEvery)
		defer tick.Stop()
		for {
			select {
			case <-renewing.Done():
				return
			case <-tick.C:
				if _, err := p.Store.TryLock(renewing, name); err != nil && renewing.Err() == nil {
					p.Log.Warn("could not renew a lock of ingress processes", "lock", name, "error", err)
				}
			}
		}
	}()
	return nil
}

func (l *locks) release(name string, h *heldLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] == h {
		delete(l.held, name)
	}
	for other, at := range l.released {
		if time.Since(at) > 2*lockPoll {
			delete(l.released, other)
		}
	}
	l.released[name] = time.Now()
	close(h.free)
}

func (p *process) unlock(ctx context.Context, name string) error {
	p.locks.mu.Lock()
	h := p.locks.held[name]
	p.locks.mu.Unlock()
	if h == nil {
		return nil
	}
	h.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := p.Store.Unlock(ctx, name)
	p.locks.release(name, h)
	return err
}
