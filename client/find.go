// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// find looks an object up by its ID if the text is one, and by name otherwise. It sends no request for a text that cannot be a name, so that a typing
// mistake is reported as an object that does not exist and not as an invalid filter.
func find[T any](text, kind string, possible func(string) bool, byID func(uuid.UUID) (T, error), byName iter.Seq2[T, error]) (T, error) {
	var none T
	if id, ok := ParseID(text); ok {
		v, err := byID(id)
		if IsNotFound(err) {
			return none, NotFound(kind, text)
		}
		return v, err
	}
	if !possible(text) {
		return none, NotFound(kind, text)
	}
	items, err := Collect(byName)
	if err != nil {
		return none, err
	}
	if len(items) == 0 {
		return none, NotFound(kind, text)
	}
	return items[len(items)-1], nil
}

// AmbiguousError says that several objects have the name. Their IDs tell them apart.
type AmbiguousError struct {
	Kind, Name string
	Count      int
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d %ss have the name %q; use the ID", e.Count, e.Kind, e.Name)
}

// FindIn finds an object in a list by one of its names. It returns an [*Error] with the code not_found if there is none, and an
// [*AmbiguousError] if there are several.
func FindIn[T any](list iter.Seq2[T, error], kind, name string, names func(T) []string) (T, error) {
	var none T
	var found []T
	for item, err := range list {
		if err != nil {
			return none, err
		}
		if slices.Contains(names(item), name) {
			found = append(found, item)
		}
	}
	switch len(found) {
	case 0:
		return none, NotFound(kind, name)
	case 1:
		return found[0], nil
	default:
		return none, &AmbiguousError{kind, name, len(found)}
	}
}

// ParseID reads a UUID in its usual form.
func ParseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(id.String())
}

// IsName reports whether the text has the form of a name, an RFC 1123 label.
func IsName(text string) bool {
	return text != "" && len(text) <= 63 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		text[0] != '-' && text[len(text)-1] != '-'
}
