// SPDX-License-Identifier: Apache-2.0

package registry

import "errors"

// What can be wrong with an image; use errors.Is.
var (
	ErrBadReference = errors.New("bad image reference")
	ErrNotFound     = errors.New("image not found")
	ErrUnauthorized = errors.New("registry denies access")
	ErrUnreachable  = errors.New("registry unreachable")
	ErrUnknownHost  = errors.New("registry has no address")
	ErrCutOff       = errors.New("registry cut the connection")
	ErrForbidden    = errors.New("registry at a forbidden address")
	ErrNoPlatform   = errors.New("image has no linux/amd64 variant")
	ErrTooLarge     = errors.New("image too large")
	ErrBadImage     = errors.New("bad image")
	ErrTooSlow      = errors.New("registry too slow")
	ErrRateLimited  = errors.New("registry limits requests")
	ErrOverloaded   = errors.New("registry responds with an error")
)

// Kinds are the errors that an ImageError has as its kind.
var Kinds = []error{
	ErrBadReference, ErrNotFound, ErrUnauthorized, ErrUnreachable, ErrUnknownHost, ErrCutOff, ErrForbidden, ErrNoPlatform,
	ErrTooLarge, ErrBadImage, ErrTooSlow, ErrRateLimited, ErrOverloaded,
}
