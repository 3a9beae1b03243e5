// SPDX-License-Identifier: Apache-2.0

package print

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Clean makes text from elsewhere safe for a terminal and for a cell of a table. It replaces control characters with spaces, also those that change the
// direction of text.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}

// Age says how long ago something was, in the largest unit of which at least two have passed, or in seconds.
func Age(since time.Time) string {
	d := max(time.Since(since), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// AgeOf returns the age of something that may not have happened.
func AgeOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return Age(*t)
}

// Time prints a time that may be nil.
func Time(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

// Cores prints thousandths of a core as a number of cores.
func Cores(millis int) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%03d", millis/1000, millis%1000), "0"), ".")
}

// Mebibytes prints a number of bytes.
func Mebibytes(n int64) string { return fmt.Sprintf("%.1fMi", float64(n)/(1<<20)) }

// Labels prints labels in the form in which a selector takes them.
func Labels(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}

// Shortened cuts a long text for a table. JSON and YAML show the whole text.
func Shortened(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// State joins a state with the message that explains it.
func State(state, message string) string {
	if message != "" {
		return state + ": " + message
	}
	return state
}
