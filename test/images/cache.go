// SPDX-License-Identifier: Apache-2.0

package images

import (
	"os"
	"path/filepath"
)

// CacheDir is where packages and layers are kept unless the caller knows better.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "husk-images"), err
}
