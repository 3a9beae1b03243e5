// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"errors"
	"os"
	"path/filepath"

	"husk/dev/fabric"
)

// Clean ends what a killed predecessor left running, by recorded pid, and removes the state
// directory. It succeeds if nothing runs or nothing exists, and returns *InUseError while a stack
// runs.
func Clean(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// A mistyped path must not delete somebody's home directory.
	if _, err := os.Stat(filepath.Join(path, "lock")); err != nil {
		return errors.New(path + " is not a state directory, because it contains no lock file; it was not removed")
	}
	d, err := openStateDir(path)
	if err != nil {
		return err
	}
	_, err = endLeftovers(d.path)
	if _, hosts := os.Stat(d.join("hosts")); err == nil && hosts == nil {
		err = (&Stack{dir: d}).removeFabric()
	}
	if err == nil {
		err = fabric.RemoveProvider(ID(d.path))
	}
	if err == nil {
		err = os.RemoveAll(d.path)
	}
	return errors.Join(err, d.close())
}
