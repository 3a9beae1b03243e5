package control

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"husk"
)

const (
	progressEvery   = 500 * time.Millisecond
	progressTimeout = 2 * time.Second // of one write: so long does the end of an import wait at most
)

// importProgress writes down how much of an image has come, beside the import, which never waits for it but at its end and never fails by it.
type importProgress struct {
	images *images
	digest string
	total  int64

	fetched atomic.Int64
	written int64 // -1: nothing yet
	ended   chan struct{}
	writing sync.WaitGroup
}

// reportProgress begins at nothing, whatever an earlier try has come to.
func (s *images) reportProgress(ctx context.Context, digest string, total int64) *importProgress {
	p := &importProgress{images: s, digest: digest, total: total, written: -1, ended: make(chan struct{})}
	p.writing.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		p.write(ctx)
		for {
			select {
			case <-p.ended:
				p.write(ctx)
				return
			case <-tick.C:
				p.write(ctx)
			}
		}
	})
	return p
}

// end returns when nothing is written any more.
func (p *importProgress) end() {
	close(p.ended)
	p.writing.Wait()
}

func (p *importProgress) write(ctx context.Context) {
	now := p.fetched.Load()
	if now == p.written || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	if err := p.images.store.ImageProgress(ctx, p.digest, husk.ImportProgress{FetchedBytes: now, TotalBytes: p.total}); err != nil {
		p.images.log.Warn("the progress of an import is not shown; the import goes on", "digest", p.digest, "fetched", now, "of", p.total, "error", err)
		return
	}
	p.written = now
}
