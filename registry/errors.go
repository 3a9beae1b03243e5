// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"husk/egress"
)

// What can be wrong with an image; use errors.Is.
var (
	ErrBadReference = errors.New("bad image reference")
	ErrNotFound     = errors.New("image not found")
	ErrUnauthorized = errors.New("registry denies access")
	ErrUnreachable  = errors.New("registry unreachable")
	ErrForbidden    = errors.New("registry at a forbidden address")
	ErrNoPlatform   = errors.New("image has no linux/amd64 variant")
	ErrTooLarge     = errors.New("image too large")
	ErrBadImage     = errors.New("bad image")
	ErrTooSlow      = errors.New("registry too slow")
	ErrOverloaded   = errors.New("registry responds with an error")
)

// classify converts an error of talking to a registry into one of the above.
func classify(ref string, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{ErrBadReference, ErrNotFound, ErrUnauthorized, ErrUnreachable, ErrForbidden, ErrNoPlatform, ErrTooLarge, ErrBadImage, ErrTooSlow, ErrOverloaded} {
		if errors.Is(err, known) {
			return fmt.Errorf("image %s: %w", ref, err)
		}
	}
	kind := ErrUnreachable
	var answer *transport.Error
	refused, isRefused := errors.AsType[*egress.RefusedError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("image %s: %w", ref, err) // the caller canceled it
	case isRefused && refused.Obvious():
		// Only if the reference itself has the address. A name that DNS resolves to a forbidden
		// address stays ErrUnreachable, like a name that does not resolve: the tenant must not learn
		// what DNS answers.
		kind = ErrForbidden
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusNotFound:
			kind = ErrNotFound
		case http.StatusUnauthorized, http.StatusForbidden:
			kind = ErrUnauthorized
		default:
			if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
				kind = ErrOverloaded
			}
		}
	}
	return fmt.Errorf("image %s: %w: %w", ref, kind, err)
}
