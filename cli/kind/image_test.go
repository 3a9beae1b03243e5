// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"testing"

	"husk/cli/print"
	"husk/openapi"
)

func TestImportShowsItsPercentage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		progress      *openapi.ImportProgress
		message       *string
		column, waits string
	}{
		{nil, nil, "Importing", "Importing"},
		{&openapi.ImportProgress{FetchedBytes: 0, TotalBytes: 3 << 20}, nil, "Importing 0%", "Importing: 0% of 3.0Mi fetched"},
		{&openapi.ImportProgress{FetchedBytes: 2 << 20, TotalBytes: 3 << 20}, nil, "Importing 66%", "Importing: 60% of 3.0Mi fetched"},
		{&openapi.ImportProgress{FetchedBytes: 3<<20 - 1, TotalBytes: 3 << 20}, nil, "Importing 99%", "Importing: 90% of 3.0Mi fetched"},
		{&openapi.ImportProgress{FetchedBytes: 3 << 20, TotalBytes: 3 << 20}, nil, "Importing 100%", "Importing: 100% of 3.0Mi fetched"},
		{&openapi.ImportProgress{FetchedBytes: 50 << 30, TotalBytes: 60 << 30}, new("the registry does not respond"), "Importing 83%", "Importing: the registry does not respond; 80% of 61440.0Mi fetched"},
		{&openapi.ImportProgress{}, nil, "Importing", "Importing"}, // an image without a layer
	} {
		i := openapi.Image{Reference: "registry.example.com/web:1", State: openapi.ImageStateImporting, Progress: tt.progress, Message: tt.message}
		if got := Images.Columns[1].Text(i); got != tt.column {
			t.Errorf("of %+v the column is %q, want %q", tt.progress, got, tt.column)
		}
		if got := print.State(string(i.State), ImageMessage(i, CoarseStep)); got != tt.waits {
			t.Errorf("the state shown for %+v while waiting is %q, want %q", tt.progress, got, tt.waits)
		}
	}
}
