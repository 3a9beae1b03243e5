// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// reader reads a log from its beginning, and continues where it stopped, also across rotations.
type reader struct {
	path string
	file *os.File
	in   *bufio.Reader
}

// close closes the file.
func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// next passes every record that was added since the last call to emit.
func (r *reader) next(emit func(record) error) error {
	for {
		if r.file == nil {
			if err := r.open(nil, emit); err != nil || r.file == nil {
				return err
			}
		}
		if err := r.drain(emit); err != nil {
			return err
		}
		rotated, err := r.rotated()
		if err != nil || !rotated {
			return err
		}
		// A writer may have added something between the end that was read and the rotation.
		if err := r.drain(emit); err != nil {
			return err
		}
		read := r.file
		r.file = nil
		if err := errors.Join(r.open(read, emit), read.Close()); err != nil {
			return err
		}
	}
}

// open opens the current file and then reads the previous one, unless it was read already. In this
// order nothing is missed if a rotation happens in between.
func (r *reader) open(read *os.File, emit func(record) error) error {
	current, err := openIfThere(r.path)
	if err != nil {
		return err
	}
	before, err := openIfThere(r.path + ".1")
	if err != nil {
		return err
	}
	if before != nil && !sameFile(current, before) && !sameFile(read, before) {
		old := reader{path: r.path, file: before, in: newReader(before)}
		err = old.drain(emit)
	}
	if before != nil {
		err = errors.Join(err, before.Close())
	}
	if current != nil {
		r.file, r.in = current, newReader(current)
	}
	return err
}

func (r *reader) drain(emit func(record) error) error {
	for {
		rec, err := readRecord(r.in)
		if errors.Is(err, io.EOF) || errors.Is(err, errTruncated) {
			return nil // the end for now; the next call reads the rest
		}
		if _, ofFile := errors.AsType[*fs.PathError](err); err != nil && !ofFile {
			return nil // what follows was damaged when the node lost its power
		}
		if err != nil {
			return fmt.Errorf("log %s: %w", r.path, err)
		}
		if err := emit(rec); err != nil {
			return err
		}
	}
}

// rotated reports whether the path now refers to another file.
func (r *reader) rotated() (bool, error) {
	now, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // deleted with its pod, or during a rotation
	}
	if err != nil {
		return false, err
	}
	mine, err := r.file.Stat()
	return err == nil && !os.SameFile(now, mine), err
}

func sameFile(a, b *os.File) bool {
	if a == nil || b == nil {
		return false
	}
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
