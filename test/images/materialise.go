// SPDX-License-Identifier: Apache-2.0

package images

import (
	"errors"
	"io"
	"os"
)

// materialise writes an entry to a temporary executable file.
func materialise(e entry) (path string, remove func(), err error) {
	f, err := os.CreateTemp("", "husk-image-*")
	if err != nil {
		return "", nil, err
	}
	_, err = io.Copy(f, e.content())
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", nil, err
	}
	return f.Name(), func() { _ = os.Remove(f.Name()) }, nil
}
