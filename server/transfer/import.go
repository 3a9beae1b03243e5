// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/openapi"
	"husk/rbddiff"
	"husk/server/request"
	"husk/store/disks"
)

const gib = 1 << 30

// maxGiB is the largest size of a volume, as in the contract.
const maxGiB = 16384

// Body returns a body that may be long. The client has a time for each piece.
func Body(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	return patient{body, http.NewResponseController(w)}
}

type patient struct {
	io.ReadCloser
	c *http.ResponseController
}

// Read implements io.Reader.
func (p patient) Read(b []byte) (int, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(readTimeout)) //nolint:errcheck // then there is none
	return p.ReadCloser.Read(b)
}

// pacedReader waits until bytes may pass.
type pacedReader struct {
	ctx   context.Context //nolint:containedctx // of the request whose body it is
	from  io.Reader
	wait  func(ctx context.Context, bytes int) error
	count prometheus.Counter
}

// Read implements io.Reader.
func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.count.Add(float64(n))
	if e := p.wait(p.ctx, n); e != nil {
		return n, e
	}
	return n, err
}

// ImportVolume creates a volume with the content that the request sends. If that does not arrive completely, the volume is removed.
func (t *Transfers) ImportVolume(ctx context.Context, r openapi.ImportVolumeRequestObject) (openapi.ImportVolumeResponseObject, error) {
	leave, err := t.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	req := request.Of(ctx)
	wait, done := t.held.PaceTransfers(req.Caller.TenantID)
	defer done()
	diff, err := rbddiff.NewReader(&pacedReader{ctx, r.Body, wait, t.bytes.WithLabelValues(imported)})
	if err != nil {
		return nil, unreadable(err)
	}
	size := int((diff.Size()-1)/gib + 1)
	if given := openapi.Value(r.Params.SizeGiB); given != 0 {
		if given < size {
			return nil, husk.Errorf(husk.CodeInvalid, "sizeGiB", "the content has %d GiB, and the volume cannot be smaller", size)
		}
		size = given
	}
	if size < 1 || size > maxGiB {
		return nil, husk.Errorf(husk.CodeInvalid, "", "the content has %d bytes; a volume has 1 to %d GiB", diff.Size(), maxGiB)
	}
	tenant := t.store.Tenant(req.Caller)
	volume, err := tenant.AddVolume(ctx, req.Idempotency(nil), husk.Volume{
		Name: r.Params.Name, Labels: map[string]string{}, SizeGiB: size, Class: openapi.Value(r.Params.Class), FSType: string(openapi.Value(r.Params.FsType)), Upload: true,
	})
	if err != nil {
		return nil, err
	}
	volume, err = t.upload(ctx, volume, diff, string(openapi.Value(r.Params.FsType)), func(ctx context.Context) error { return tenant.RenewUpload(ctx, volume.ID) })
	t.end(imported, err)
	if err != nil {
		return nil, err
	}
	if now, err := tenant.Volume(ctx, volume.ID); err == nil {
		volume = now
	}
	body, err := openapi.Recast[openapi.Volume](volume)
	return openapi.ImportVolume201JSONResponse{Body: body, Headers: openapi.ImportVolume201ResponseHeaders{ETag: request.ETag(volume)}}, err
}

// upload writes the content, and then makes the volume available or has it removed.
func (t *Transfers) upload(ctx context.Context, v husk.Volume, diff *rbddiff.Reader, fsType string, renew func(ctx context.Context) error) (husk.Volume, error) {
	ctx, stop := checked(ctx, renew)
	defer stop()
	var start superblocks
	disk, err := t.ceph.ImportVolume(ctx, v.RBDName(), int64(v.SizeGiB)*gib, rbddiff.MaxPiece, func(buf []byte) (int64, int, error) {
		offset, n, err := diff.Next(buf)
		if err == nil {
			start.see(offset, buf[:n])
		}
		return offset, n, err
	})
	if err == nil {
		if fsType == "" {
			fsType = start.fsType()
		}
		err = t.store.Control().Copies().Uploaded(ctx, v.TenantID, v.ID, fsType, disk.ID, disk.Header)
	}
	if err == nil {
		return v, nil
	}
	err = errors.Join(err, context.Cause(ctx))
	// The request may have been canceled. If this fails, the leader ends the upload soon.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if e := t.store.Control().Copies().EndUpload(within, v.TenantID, v.ID, "not all content has arrived"); e != nil {
		t.log.Warn("an upload that has failed is not ended yet", "tenant", v.TenantID, "volume", v.ID, "error", e)
	}
	return v, unreadable(err)
}

// endTimeout is how long the end of an upload may take that has failed.
const endTimeout = 10 * time.Second

// unreadable returns the error for content that the client has sent wrong, or not completely. Other errors stay as they are. Codes: invalid.
func unreadable(err error) error {
	switch {
	case errors.Is(err, disks.ErrNoUpload):
		return husk.Errorf(husk.CodeConflict, "", "the volume was deleted while its content was uploaded")
	case errors.Is(err, rbddiff.ErrFormat):
		return errors.Join(husk.Errorf(husk.CodeInvalid, "", "%s", formatText(err)), err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.Join(husk.Errorf(husk.CodeInvalid, "", "the content ends too early; nothing is kept of it"), err)
	}
	return err
}

// formatText returns the part of an error that says what is wrong with the content.
func formatText(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if errors.Is(e, rbddiff.ErrFormat) {
				return formatText(e)
			}
		}
	}
	return err.Error()
}

// superblocks is the part of a volume from which its file system is known.
type superblocks [2048]byte

func (s *superblocks) see(offset int64, piece []byte) {
	if offset < int64(len(s)) {
		copy(s[offset:], piece)
	}
}

// fsType returns the file system by its magic number.
func (s *superblocks) fsType() string {
	const ext4Magic, ext4At = 0xef53, 1024 + 56
	switch {
	case string(s[:4]) == "XFSB":
		return husk.FSXFS
	case binary.LittleEndian.Uint16(s[ext4At:]) == ext4Magic:
		return husk.FSExt4
	default:
		return husk.FSNone
	}
}
