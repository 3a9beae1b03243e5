package main

import (
	"context"
	"net/http"
	"slices"
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

// kindNames are the words by which each kind is called before a slash and behind get, delete and wait; the first is the kind's own.
var kindNames = [][]string{
	{"pod", "pods", "po"},
	{"volume", "volumes", "vol"},
	{"image", "images", "img"},
	{"event", "events", "ev"},
	{"service-account", "service-accounts", "sa"},
	{"api-key", "api-keys", "key"},
	{"user", "users"},
	{"issuer", "issuers"},
	{"node", "nodes"},
	{"pool", "pools"},
}

// kindOf finds the kind that a word means.
func kindOf(word string) (string, bool) {
	for _, words := range kindNames {
		if slices.Contains(words, word) {
			return words[0], true
		}
	}
	return "", false
}

// bare is a name without its kind: pod/web is web. An image's reference has slashes of its own, so only words for the kind count.
func bare(kind, arg string) string {
	word, name, ok := strings.Cut(arg, "/")
	if k, known := kindOf(word); ok && known && k == kind && name != "" {
		return name
	}
	return arg
}

// findPod finds a pod by id or name.
func findPod(ctx context.Context, c *openapi.Client, name string) (openapi.Pod, error) {
	return find(name, "pod", isName,
		func(id uuid.UUID) (openapi.Pod, error) { return answer[openapi.Pod](c.GetPod(ctx, id)) },
		func() ([]openapi.Pod, error) {
			l, err := answer[openapi.PodList](c.ListPods(ctx, &openapi.ListPodsParams{Name: &name}))
			return l.Items, err
		})
}

// findVolume finds a volume by id or name.
func findVolume(ctx context.Context, c *openapi.Client, name string) (openapi.Volume, error) {
	return find(name, "volume", isName,
		func(id uuid.UUID) (openapi.Volume, error) { return answer[openapi.Volume](c.GetVolume(ctx, id)) },
		func() ([]openapi.Volume, error) {
			l, err := answer[openapi.VolumeList](c.ListVolumes(ctx, &openapi.ListVolumesParams{Name: &name}))
			return l.Items, err
		})
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
	if id, ok := parseID(text); ok {
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

// findListed finds an object of a kind that cannot be asked for by name, in the list of all.
func findListed[T any](text, kind string, items []T, err error, called func(T) []string) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	var found []T
	for _, item := range items {
		if slices.Contains(called(item), text) {
			found = append(found, item)
		}
	}
	switch len(found) {
	case 0:
		return none, noSuch(kind, text)
	case 1:
		return found[0], nil
	default:
		return none, usagef("%d %ss are called %q; use the id, which -o wide shows", len(found), kind, text)
	}
}

// parseID reads a UUID in its usual form.
func parseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(id.String())
}

// isName tells whether the text has the form of a name, an RFC 1123 label.
func isName(text string) bool {
	return text != "" && len(text) <= 63 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		text[0] != '-' && text[len(text)-1] != '-'
}
