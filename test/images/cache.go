// SPDX-License-Identifier: Apache-2.0

package images

import (
	"os"
	"path/filepath"
)

// CacheDir returns the default directory for packages and layers.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "husk-images"), err
}
