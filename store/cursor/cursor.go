// SPDX-License-Identifier: Apache-2.0

// Package cursor names positions in lists that are ordered by time and id, so that a page stays correct while rows are added and deleted.
package cursor

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk"
)

// Position is the position of an object in a list. The zero value is before the first object.
type Position struct {
	At time.Time
	ID uuid.UUID
}

// Parse reads a cursor that String has written. The empty cursor is the zero position. Codes: invalid.
func Parse(cursor string) (Position, error) {
	if cursor == "" {
		return Position{}, nil
	}
	invalid := husk.Errorf(husk.CodeInvalid, "cursor", "the cursor is not one that this API returned")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return Position{}, invalid
	}
	at, id, found := strings.Cut(string(raw), " ")
	var p Position
	if !found || p.ID.UnmarshalText([]byte(id)) != nil {
		return Position{}, invalid
	}
	if p.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return Position{}, invalid
	}
	return p, nil
}

// String returns the cursor of a position.
func (p Position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.At.UTC().Format(time.RFC3339Nano) + " " + p.ID.String()))
}
