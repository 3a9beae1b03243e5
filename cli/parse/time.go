// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strconv"
	"strings"
	"time"

	"husk/cli/exit"
)

// Lifetime reads how long something lasts, also in days, and returns seconds. For an empty text it returns nil, which means no limit.
func Lifetime(flag, text string) (*int64, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no limit
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int64
		n, err = strconv.ParseInt(days, 10, 32)
		d = time.Duration(n) * 24 * time.Hour
	}
	if seconds := int64(d.Seconds()); err == nil && seconds > 0 {
		return &seconds, nil
	}
	return nil, exit.Usagef("%s: %q is not a duration such as 12h or 90d", flag, text)
}

// Since reads --since: a time, or how long ago it was. For an empty text it returns the zero time.
func Since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, exit.Usagef("--since: %q is neither a time such as 2026-03-02T09:00:00Z nor a duration such as 10m", text)
}

// Day reads a time or a day. A day stands for its beginning in UTC. For an empty text it returns nil.
func Day(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing was given
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return &day, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return &at, nil
	}
	return nil, exit.Usagef("%s: %q is neither a day such as 2026-03-01 nor a time such as 2026-03-01T12:00:00Z", flag, text)
}
