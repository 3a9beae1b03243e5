package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"husk/openapi"
)

// collect reads every page of a list.
func collect[L, T any](fetch func(cursor *openapi.Cursor) (*http.Response, error), parts func(L) ([]T, *string)) ([]T, error) {
	var all []T
	var cursor *openapi.Cursor
	for {
		page, err := answer[L](fetch(cursor))
		if err != nil {
			return nil, err
		}
		items, next := parts(page)
		all = append(all, items...)
		if next == nil || *next == "" {
			return all, nil
		}
		cursor = next
	}
}

// pageSize is how many items are asked for at once.
var pageSize openapi.Limit = 1000

func listPods(ctx context.Context, c *openapi.Client, name *string) ([]openapi.Pod, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListPods(ctx, &openapi.ListPodsParams{Limit: &pageSize, Cursor: cursor, Name: name})
	}, func(l openapi.PodList) ([]openapi.Pod, *string) { return l.Items, l.NextCursor })
}

func listVolumes(ctx context.Context, c *openapi.Client, name *string) ([]openapi.Volume, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListVolumes(ctx, &openapi.ListVolumesParams{Limit: &pageSize, Cursor: cursor, Name: name})
	}, func(l openapi.VolumeList) ([]openapi.Volume, *string) { return l.Items, l.NextCursor })
}

func listImages(ctx context.Context, c *openapi.Client, reference *string) ([]openapi.Image, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListImages(ctx, &openapi.ListImagesParams{Limit: &pageSize, Cursor: cursor, Reference: reference})
	}, func(l openapi.ImageList) ([]openapi.Image, *string) { return l.Items, l.NextCursor })
}

// findPod finds a pod by id or name.
func findPod(ctx context.Context, c *openapi.Client, name string) (openapi.Pod, error) {
	return find(name, "pod", isName,
		func(id uuid.UUID) (openapi.Pod, error) { return answer[openapi.Pod](c.GetPod(ctx, id)) },
		func() ([]openapi.Pod, error) { return listPods(ctx, c, &name) })
}

// findVolume finds a volume by id or name.
func findVolume(ctx context.Context, c *openapi.Client, name string) (openapi.Volume, error) {
	return find(name, "volume", isName,
		func(id uuid.UUID) (openapi.Volume, error) { return answer[openapi.Volume](c.GetVolume(ctx, id)) },
		func() ([]openapi.Volume, error) { return listVolumes(ctx, c, &name) })
}

// findImage finds an image by id or reference; of several imported by the same reference it is the newest.
func findImage(ctx context.Context, c *openapi.Client, reference string) (openapi.Image, error) {
	return find(reference, "image", func(string) bool { return true },
		func(id uuid.UUID) (openapi.Image, error) { return answer[openapi.Image](c.GetImage(ctx, id)) },
		func() ([]openapi.Image, error) { return listImages(ctx, c, &reference) })
}

// find looks an object up by its id when the text is one, and by name otherwise. What cannot be a name is not asked for, so that a
// typing mistake is "no such pod" and not a complaint about a filter.
func find[T any](text, kind string, possible func(string) bool, byID func(uuid.UUID) (T, error), byName func() ([]T, error)) (T, error) {
	var none T
	if id, err := uuid.Parse(text); err == nil && len(text) == len(id.String()) {
		v, err := byID(id)
		if isNotFound(err) {
			return none, noSuch(kind, text)
		}
		return v, err
	}
	if !possible(text) {
		return none, noSuch(kind, text)
	}
	items, err := byName()
	if err != nil {
		return none, err
	}
	if len(items) == 0 {
		return none, noSuch(kind, text)
	}
	return items[len(items)-1], nil
}

// isName tells whether the text has the form of a name, an RFC 1123 label.
func isName(text string) bool {
	return text != "" && len(text) <= 63 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		text[0] != '-' && text[len(text)-1] != '-'
}
