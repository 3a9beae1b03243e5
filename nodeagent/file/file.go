// SPDX-License-Identifier: Apache-2.0

// Package file writes the agent's files so that a crash leaves the old contents or the new ones.
package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write replaces a file so that after a crash it is completely the old or completely the new
// one.
func Write(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
