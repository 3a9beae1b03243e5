// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Images are OCI images, imported once from their registry.
type Images struct{ c *Client }

// Import starts the import of an image. It returns before the image is ready; see [Images.WaitReady].
func (i Images) Import(ctx context.Context, image openapi.ImageImport) (openapi.Image, error) {
	return Decode[openapi.Image](i.c.api.ImportImage(ctx, &openapi.ImportImageParams{IdempotencyKey: newKey()}, image))
}

// Get returns an image.
func (i Images) Get(ctx context.Context, id uuid.UUID) (openapi.Image, error) {
	return Decode[openapi.Image](i.c.api.GetImage(ctx, id))
}

// Find returns an image by its reference or its ID. If several were imported by the same reference, it returns the newest.
func (i Images) Find(ctx context.Context, referenceOrID string) (openapi.Image, error) {
	return find(referenceOrID, "image", func(string) bool { return true },
		func(id uuid.UUID) (openapi.Image, error) { return i.Get(ctx, id) }, i.list(ctx, &referenceOrID))
}

// List yields the tenant's images.
func (i Images) List(ctx context.Context) iter.Seq2[openapi.Image, error] { return i.list(ctx, nil) }

func (i Images) list(ctx context.Context, reference *string) iter.Seq2[openapi.Image, error] {
	return pages[openapi.Image](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return i.c.api.ListImages(ctx, &openapi.ListImagesParams{Limit: limit, Cursor: cursor, Reference: reference})
	})
}

// Watch yields the tenant's images and then their changes, until ctx ends. Images have no labels.
func (i Images) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Image], error] {
	w := watcher[openapi.Image]{kind: "image", id: func(i openapi.Image) string { return i.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return i.c.api.ListImages(ctx, &openapi.ListImagesParams{Watch: new(true)})
	}}
	return w.changes(ctx, o)
}

// WaitReady reads the image until it is ready. It returns an error with the reason if the import fails. ctx bounds how long it may take.
func (i Images) WaitReady(ctx context.Context, id uuid.UUID) (openapi.Image, error) {
	return wait(ctx, func() (openapi.Image, error) { return i.Get(ctx, id) }, func(image openapi.Image) (bool, error) {
		if image.State == openapi.ImageStateFailed {
			return false, fmt.Errorf("image %s cannot be imported: %s", image.Reference, openapi.Value(image.Message))
		}
		return image.State == openapi.ImageStateReady, nil
	})
}

// Delete starts the deletion of an image. [Images.Get] still returns the image until it is deleted.
func (i Images) Delete(ctx context.Context, id uuid.UUID) error {
	return done(i.c.api.DeleteImage(ctx, id, nil))
}
