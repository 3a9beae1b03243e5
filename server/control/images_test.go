// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"husk/registry"
	"husk/registry/importer"
)

func TestAnImportIsRetriedAccordingToItsFailure(t *testing.T) {
	t.Parallel()
	failure := func(kind error, change func(*registry.ImageError)) error {
		f := &registry.ImageError{Kind: kind, Cause: errors.New("dial tcp 10.0.0.5: secret"), Registry: "registry.example.com"}
		if change != nil {
			change(f)
		}
		return f
	}
	limited := func(after time.Duration) error {
		return failure(registry.ErrRateLimited, func(f *registry.ImageError) { f.Status, f.RetryAfter = 429, after })
	}
	overloaded := failure(registry.ErrOverloaded, func(f *registry.ImageError) { f.Status = 503 })
	for name, tt := range map[string]struct {
		attempts int
		err      error
		want     verdict
		text     string
	}{
		"an error of the registry": {1, overloaded, verdict{}, "the registry registry.example.com responds with status 503 Service Unavailable; Husk retries"},
		"for minutes":              {8, overloaded, verdict{}, "status 503 Service Unavailable; Husk retries"},
		"too often":                {9, overloaded, verdict{final: true}, "status 503 Service Unavailable, in 9 attempts; import the image again to retry"},
		"a rate limit":             {1, limited(2 * time.Minute), verdict{pause: 2 * time.Minute}, "accepts more in 2m0s; Husk retries"},
		"a long rate limit":        {1, limited(6 * time.Hour), verdict{final: true}, "accepts more in 6h0m0s; import the image again after that"},
		"an unknown host":          {1, failure(registry.ErrUnknownHost, nil), verdict{}, `the name "registry.example.com" of the registry does not resolve`},
		"a cut connection":         {1, failure(registry.ErrCutOff, nil), verdict{}, "cut the connection; Husk retries"},
		"another architecture": {
			1, failure(registry.ErrNoPlatform, func(f *registry.ImageError) { f.Why = "it is for linux/arm64" }),
			verdict{final: true},
			"the image has no variant for linux/amd64: it is for linux/arm64",
		},
		"a killed process":       {4, importer.ErrKilled, verdict{}, "the process of the import was killed; Husk retries"},
		"killed too often":       {5, importer.ErrKilled, verdict{final: true}, "the process of the import was killed, in 5 attempts; import the image again to retry"},
		"an error of the server": {1, errors.New("disk /dev/secret"), verdict{}, "the import did not finish; Husk retries"},
	} {
		text, got := importVerdict(tt.attempts, tt.err)
		if got != tt.want || !strings.Contains(text, tt.text) || strings.Contains(text, "secret") {
			t.Errorf("%s: %+v, %q", name, got, text)
		}
	}
}
