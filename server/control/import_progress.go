// SPDX-License-Identifier: Apache-2.0

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
	progressTimeout = 2 * time.Second // for one write; the end of an import waits for at most this long
)

// importProgress records how much of an image has been fetched. It runs concurrently with the import. The import waits for it only at the end,
// and does not fail if the progress cannot be recorded.
type importProgress struct {
	images *images
	image  husk.Image

	fetched, total atomic.Int64 // the total is 0 until it is known
	written        int64        // -1 before the first write
	ended          chan struct{}
	writing        sync.WaitGroup
}

// reportProgress starts at zero, whatever an earlier attempt has fetched.
func (s *images) reportProgress(ctx context.Context, image husk.Image) *importProgress {
	p := &importProgress{images: s, image: image, written: -1, ended: make(chan struct{})}
	p.writing.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
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

// set records how much has been fetched.
func (p *importProgress) set(fetched, total int64) {
	p.fetched.Store(fetched)
	p.total.Store(total)
}

// end writes the last progress and stops.
func (p *importProgress) end() {
	close(p.ended)
	p.writing.Wait()
}

func (p *importProgress) write(ctx context.Context) {
	now, total := p.fetched.Load(), p.total.Load()
	if now == p.written || total == 0 || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	if err := p.images.store.ImageProgress(ctx, p.image, husk.ImportProgress{FetchedBytes: now, TotalBytes: total}); err != nil {
		p.images.log.Warn("could not record the progress of an import; the import continues", "image", p.image.ID, "digest", p.image.Digest, "fetched", now, "of", total, "error", err)
		return
	}
	p.written = now
}
