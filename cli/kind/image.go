// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"iter"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Images are OCI images.
var Images = Kind[openapi.Image]{
	View: print.View[openapi.Image]{
		Kind: "image", Document: "Image",
		Name: func(i openapi.Image) string { return i.Reference },
		Columns: []print.Column[openapi.Image]{
			print.Col("REFERENCE", func(i openapi.Image) string { return i.Reference }),
			print.Col("STATE", func(i openapi.Image) string {
				if p, known := fetchedPercent(i); known {
					return fmt.Sprintf("%s %d%%", i.State, p)
				}
				return string(i.State)
			}),
			print.Col("SIZE", func(i openapi.Image) string {
				if i.SizeBytes == nil {
					return ""
				}
				return print.Mebibytes(*i.SizeBytes)
			}),
			print.Col("AGE", func(i openapi.Image) string { return print.Age(i.CreatedAt) }),
			print.WideCol("DIGEST", func(i openapi.Image) string { return i.Digest }),
			print.WideCol("ID", func(i openapi.Image) string { return i.ID.String() }),
			print.WideCol("MESSAGE", func(i openapi.Image) string { return openapi.Value(i.Message) }),
		},
	},
	Plural: "images", Aliases: []string{"image", "img"}, Short: "List or watch imported images",
	ID: func(i openapi.Image) string { return i.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Image, error) {
		return c.Images.Find(ctx, name)
	},
	IfNone: "to import one, run \"husk image import REFERENCE\"",
	List: func(ctx context.Context, c *client.Client, _ Query) iter.Seq2[openapi.Image, error] {
		return c.Images.List(ctx)
	},
	Watch: func(ctx context.Context, c *client.Client, _ Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Image], error] {
		return c.Images.Watch(ctx, o)
	},
}

// fetchedPercent returns how much of an image was fetched from its registry, rounded down, while the import is running.
func fetchedPercent(i openapi.Image) (int64, bool) {
	if i.Progress == nil || i.Progress.TotalBytes <= 0 {
		return 0, false
	}
	return i.Progress.FetchedBytes * 100 / i.Progress.TotalBytes, true
}

// ImageMessage says why an image is not ready yet, and how much of it was fetched, in steps of so many percent.
func ImageMessage(i openapi.Image, step int64) string {
	message := openapi.Value(i.Message)
	p, known := fetchedPercent(i)
	if !known {
		return message
	}
	fetched := fmt.Sprintf("%d%% of %s fetched", p/step*step, print.Mebibytes(i.Progress.TotalBytes))
	if message != "" { // why the previous attempt failed
		return message + "; " + fetched
	}
	return fetched
}

// CoarseStep is the step in percent for output in which each change is a new line: a hundred lines would be too many.
const CoarseStep = 10
