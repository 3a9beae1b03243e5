// SPDX-License-Identifier: Apache-2.0

package ceph

/*
#cgo LDFLAGS: -lrbd
#include <stdlib.h>
#include <rbd/librbd.h>

extern int huskFlattened(uint64_t done, uint64_t all, uintptr_t handle);

static inline int husk_progress(uint64_t done, uint64_t all, void *handle) {
	return huskFlattened(done, all, (uintptr_t)handle);
}

static inline int husk_flatten(rbd_image_t image, uintptr_t handle) {
	return rbd_flatten_with_progress(image, husk_progress, (void *)handle);
}
*/
import "C"

import (
	"context"
	"errors"
	"runtime/cgo"
	"syscall"
	"unsafe"

	"github.com/ceph/go-ceph/rados"
)

// Progress is told how much of something is copied, from any goroutine.
type Progress func(copied, all int64)

// flattening is a disk that gets all data of its parent.
type flattening struct {
	ctx      context.Context //nolint:containedctx // of one call
	progress Progress
}

// flatten copies all data of its parent to the disk with this ID. go-ceph can neither report the progress nor end it early.
func flatten(ctx context.Context, io *rados.IOContext, id string, progress Progress) (err error) {
	text := C.CString(id)
	defer C.free(unsafe.Pointer(text))
	var image C.rbd_image_t
	if err := errnoOf(C.rbd_open_by_id(C.rados_ioctx_t(io.Pointer()), text, &image, nil)); err != nil { //nolint:gocritic // it does not understand cgo
		return err
	}
	defer func() { err = errors.Join(err, errnoOf(C.rbd_close(image))) }()
	handle := cgo.NewHandle(flattening{ctx, progress})
	defer handle.Delete()
	err = errnoOf(C.husk_flatten(image, C.uintptr_t(handle)))
	return errors.Join(err, context.Cause(ctx))
}

//export huskFlattened
func huskFlattened(done, all C.uint64_t, handle C.uintptr_t) C.int {
	f, ok := cgo.Handle(handle).Value().(flattening)
	if !ok || f.ctx.Err() != nil {
		return -C.int(syscall.ECANCELED)
	}
	f.progress(int64(done), int64(all)) //nolint:gosec // numbers of objects
	return 0
}
