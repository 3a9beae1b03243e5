// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"husk/openapi"
)

// Select narrows a list or a watch.
type Select struct {
	// Labels is a label selector in the syntax of Kubernetes, such as app=web,tier!=test. Only pods and volumes have labels.
	Labels string
}

// pageSize is the number of objects per request.
var pageSize openapi.Limit = 1000

// pages yields the objects of every page of a list. It ends after the first error.
func pages[T any](fetch func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var cursor *openapi.Cursor
		for {
			page, err := Decode[struct {
				Items      []T             `json:"items"`
				NextCursor *openapi.Cursor `json:"nextCursor"`
			}](fetch(&pageSize, cursor)) //nolint:bodyclose // Decode closes it
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = page.NextCursor; openapi.Value(cursor) == "" {
				return
			}
		}
	}
}

// Collect makes a slice of a list. If there is an error, it returns the error and the objects that it has read before.
func Collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for item, err := range list {
		if err != nil {
			return all, err
		}
		all = append(all, item)
	}
	return all, nil
}

// wait reads an object until done returns true or an error, with pauses that grow from 50 milliseconds to a second.
func wait[T any](ctx context.Context, get func() (T, error), done func(T) (bool, error)) (T, error) {
	for d := 50 * time.Millisecond; ; d = min(d*3/2, time.Second) {
		v, err := get()
		if err != nil {
			return v, err
		}
		if ok, err := done(v); ok || err != nil {
			return v, err
		}
		if err := pause(ctx, d); err != nil {
			return v, err
		}
	}
}
