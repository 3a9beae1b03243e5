// SPDX-License-Identifier: Apache-2.0

// Package transfer exports the content of snapshots and imports that of volumes, as streams between clients and Ceph. It keeps one piece of each
// stream in memory.
package transfer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/ceph"
	"husk/openapi"
	"husk/rbddiff"
	"husk/server/held"
	"husk/server/request"
	"husk/store"
)

const (
	// most is how many transfers one server does at the same time, which bounds their memory.
	most = 64
	// checkEvery is how often the server re-checks that the caller is still authorized, and renews an upload.
	checkEvery = 15 * time.Second
	// readTimeout is how long a client may take to send one piece of a body.
	readTimeout = time.Minute
)

// Transfers implements the operations.
type Transfers struct {
	store *store.Store
	ceph  *ceph.Cluster
	held  *held.Held
	log   *slog.Logger
	slots chan struct{}
	bytes *prometheus.CounterVec
	ended *prometheus.CounterVec
}

// The kinds of transfers, in metrics.
const (
	exported = "export"
	imported = "import"
)

// New prepares the operations.
func New(s *store.Store, c *ceph.Cluster, h *held.Held, log *slog.Logger, registry prometheus.Registerer) *Transfers {
	t := &Transfers{
		store: s, ceph: c, held: h, log: log, slots: make(chan struct{}, most),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "husk_volume_transfer_bytes_total", Help: "Bytes of volumes and snapshots that clients imported and exported."}, []string{"kind"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "husk_volume_transfers_total", Help: "Imports and exports of volumes that have ended."}, []string{"kind", "result"}),
	}
	for _, kind := range []string{exported, imported} {
		t.bytes.WithLabelValues(kind)
		for _, result := range []string{"ok", "failed"} {
			t.ended.WithLabelValues(kind, result)
		}
	}
	registry.MustRegister(t.bytes, t.ended)
	return t
}

// enter takes one of the server's transfers. Codes: concurrency_limit.
func (t *Transfers) enter() (leave func(), err error) {
	select {
	case t.slots <- struct{}{}:
		return func() { <-t.slots }, nil
	default:
		return nil, husk.Errorf(husk.CodeConcurrencyLimit, "", "this server transfers the content of %d volumes at the moment, which is the limit; retry later", most)
	}
}

// end records how a transfer has ended.
func (t *Transfers) end(kind string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	t.ended.WithLabelValues(kind, result).Inc()
}

// checked ends the context once check fails with one of the codes that say that the caller may not continue. Other failures pass.
func checked(ctx context.Context, check func(ctx context.Context) error) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(checkEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := check(ctx)
			if code := husk.CodeOf(err); code == husk.CodeUnauthenticated || code == husk.CodeForbidden || code == husk.CodeNotFound {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// ExportSnapshot sends the content of a snapshot.
func (t *Transfers) ExportSnapshot(ctx context.Context, r openapi.ExportSnapshotRequestObject) (openapi.ExportSnapshotResponseObject, error) {
	tenant := t.store.Tenant(request.Of(ctx).Caller)
	s, err := tenant.Snapshot(ctx, r.SnapshotID)
	if err != nil {
		return nil, err
	}
	if s.State != husk.SnapshotReady {
		return nil, husk.Errorf(husk.CodeConflict, "", "snapshot %q is %s; it can be exported once it is %s", s.Name, s.State, husk.SnapshotReady)
	}
	if s.Encrypted {
		return nil, husk.Errorf(husk.CodeConflict, "", "snapshot %q is encrypted, and the server does not read what is in it; attach the snapshot to a pod, and copy the files from there", s.Name)
	}
	leave, err := t.enter()
	if err != nil {
		return nil, err
	}
	if err := tenant.RecordExport(ctx, s); err != nil {
		leave()
		return nil, err
	}
	return &export{t, ctx, s, func(ctx context.Context) error { _, err := tenant.Snapshot(ctx, s.ID); return err }, leave}, nil
}

type export struct {
	t        *Transfers
	ctx      context.Context //nolint:containedctx // of the request that it responds to
	snapshot husk.Snapshot
	check    func(ctx context.Context) error
	leave    func()
}

// VisitExportSnapshotResponse implements the generated interface. The client notices by the missing end of the stream that it is incomplete.
func (e *export) VisitExportSnapshotResponse(w http.ResponseWriter) error {
	defer e.leave()
	ctx, stop := checked(e.ctx, e.check)
	defer stop()
	wait, done := e.t.held.PaceTransfers(request.Of(e.ctx).Caller.TenantID)
	defer done()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", `attachment; filename="`+e.snapshot.Name+`.rbd-diff"`)
	w.WriteHeader(http.StatusOK)
	out := &pacedWriter{ctx, w, http.NewResponseController(w), wait, e.t.bytes.WithLabelValues(exported)}
	diff, err := rbddiff.NewWriter(out, int64(e.snapshot.SizeGiB)<<30)
	if err == nil {
		err = e.t.ceph.ExportSnapshot(ctx, e.snapshot.RBDName(), rbddiff.MaxPiece, diff.Write)
	}
	if err == nil {
		err = diff.Close()
	}
	e.t.end(exported, err)
	if err != nil {
		e.t.log.Info("an export ended early", "tenant", request.Of(e.ctx).Caller.TenantID, "snapshot", e.snapshot.ID, "error", errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// pacedWriter waits until bytes may pass, and gives the client a time for each piece.
type pacedWriter struct {
	ctx   context.Context //nolint:containedctx // of the request that it responds to
	to    io.Writer
	c     *http.ResponseController
	wait  func(ctx context.Context, bytes int) error
	count prometheus.Counter
}

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (int, error) {
	if err := p.wait(p.ctx, len(b)); err != nil {
		return 0, err
	}
	_ = p.c.SetWriteDeadline(time.Now().Add(request.WriteTimeout)) //nolint:errcheck // then there is none
	n, err := p.to.Write(b)
	p.count.Add(float64(n))
	return n, err
}
