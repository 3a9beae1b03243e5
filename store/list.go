package store

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"husk"
)

// Page asks for a part of a list. Lists are ordered by creation and id, so a page stays right while rows come and go.
type Page struct {
	Limit  int
	Cursor string // empty for the first page
}

type position struct {
	at time.Time
	id ID
}

func (p Page) after() (position, error) {
	if p.Cursor == "" {
		return position{}, nil
	}
	invalid := husk.Errorf(husk.CodeInvalid, "cursor", "the cursor is not one that this API gave out")
	raw, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return position{}, invalid
	}
	at, id, found := strings.Cut(string(raw), " ")
	var pos position
	if !found || pos.id.UnmarshalText([]byte(id)) != nil {
		return position{}, invalid
	}
	if pos.at, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return position{}, invalid
	}
	return pos, nil
}

// paged reads one page: query gets one row more than asked for, which tells whether a next page exists.
func paged[Row, T any](p Page, query func(after position, limit int) ([]Row, error), convert func(Row) T, where func(T) (time.Time, ID)) ([]T, string, error) {
	after, err := p.after()
	if err != nil {
		return nil, "", err
	}
	rows, err := query(after, p.Limit+1)
	if err != nil {
		return nil, "", err
	}
	more := len(rows) > p.Limit
	items := make([]T, 0, min(len(rows), p.Limit))
	for _, row := range rows[:min(len(rows), p.Limit)] {
		items = append(items, convert(row))
	}
	if !more || len(items) == 0 {
		return items, "", nil
	}
	at, id := where(items[len(items)-1])
	return items, cursorAt(at, id), nil
}

func cursorAt(at time.Time, id ID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + id.String()))
}

// Filter narrows a list; its zero value does not.
type Filter struct {
	Name   *string
	Labels Selector
}

// Selector is a label selector: every requirement must hold.
type Selector []Requirement

// Requirement is one condition on an object's labels.
type Requirement struct {
	Key    string     `json:"key"`
	Op     SelectorOp `json:"op"`
	Values []string   `json:"values,omitempty"` // of OpIn and OpNotIn
}

// SelectorOp is what a requirement asks of the label's value. The function labels_match in the schema carries it out.
type SelectorOp string

// The operators of Kubernetes' label selectors. A key that is absent is not in any set.
const (
	OpIn     SelectorOp = "in"
	OpNotIn  SelectorOp = "notin"
	OpExists SelectorOp = "exists"
	OpAbsent SelectorOp = "absent"
)

// json is what SQL takes; nil matches everything.
func (s Selector) json() []byte {
	if len(s) == 0 {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return raw
}
