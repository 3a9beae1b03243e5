// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
)

// Pin returns a reference to the same repository by digest, so that a resolved image can be fetched
// later even if the tag has moved. It returns ErrBadReference, wrapped.
func Pin(reference, digest string) (string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadReference, err)
	}
	return ref.Context().Digest(digest).Name(), nil
}
