// SPDX-License-Identifier: Apache-2.0

package ceph

// #cgo LDFLAGS: -lrados
// #include <errno.h>
// #include <stdlib.h>
// #include <rados/librados.h>
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/ceph/go-ceph/rados"
)

// What go-ceph does not have of librados: the numbers of snapshots in a pool, and methods of object classes.

// newSnapID takes a number for a snapshot from the pool. It is no snapshot until a client writes with it.
func newSnapID(io *rados.IOContext) (uint64, error) {
	var id C.rados_snap_t
	if err := errnoOf(C.rados_ioctx_selfmanaged_snap_create(C.rados_ioctx_t(io.Pointer()), &id)); err != nil {
		return 0, fmt.Errorf("take the number of a snapshot: %w", err)
	}
	return uint64(id), nil
}

// dropSnapID gives a number back. The pool then removes what only this snapshot has.
func dropSnapID(io *rados.IOContext, id uint64) error {
	err := errnoOf(C.rados_ioctx_selfmanaged_snap_remove(C.rados_ioctx_t(io.Pointer()), C.rados_snap_t(id)))
	if err == syscall.ENOENT { //nolint:errorlint // it is not wrapped
		return nil
	}
	return err
}

// call calls a method of a class for an object.
func call(io *rados.IOContext, object, class, method string, in []byte) error {
	o, c, m := C.CString(object), C.CString(class), C.CString(method)
	defer C.free(unsafe.Pointer(o))
	defer C.free(unsafe.Pointer(c))
	defer C.free(unsafe.Pointer(m))
	data := C.CBytes(in)
	defer C.free(data)
	return errnoOf(C.rados_exec(C.rados_ioctx_t(io.Pointer()), o, c, m, (*C.char)(data), C.size_t(len(in)), nil, 0))
}

func errnoOf(ret C.int) error {
	if ret >= 0 {
		return nil
	}
	return syscall.Errno(-ret)
}
