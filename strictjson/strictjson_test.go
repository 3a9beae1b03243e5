// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckAcceptsUnambiguousJSON(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{
		`{}`, `[]`, `1`, `"x"`, `null`, ` {"a":1} `, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, `{"a":1,"A":2}`, `{"":1}`, `1e308`, `123456789012345678901234567890`,
		`"\ud83d\ude00"`, `"\\ud800"`, `{"a":"{[{[{["}`, `{"a":"\"{"}`, `["` + "\u2028" + `"]`, `{"a":[],"b":[[]],"c":{}}`,
	} {
		if err := Check([]byte(ok), 3); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestCheckRefusesAmbiguousJSON(t *testing.T) {
	t.Parallel()
	for bad, want := range map[string]string{
		``:                               "not one JSON value",
		`{} {}`:                          "not one JSON value",
		`{}x`:                            "not one JSON value",
		`{"a":[1e999]}`:                  "a number that is too large, after byte 6",
		`-1e400`:                         "a number that is too large",
		`{"a":1,}`:                       "not one JSON value",
		`[1,]`:                           "not one JSON value",
		`{"a"}`:                          "not one JSON value",
		`{a:1}`:                          "not one JSON value",
		`'a'`:                            "not one JSON value",
		`]`:                              "not one JSON value",
		`NaN`:                            "not one JSON value",
		"\ufeff{}":                       "not one JSON value",
		"\"\xff\"":                       "UTF-8",
		`{"a":1,"a":1}`:                  "duplicate member in an object, after byte 6",
		`{"a":1,"\u0061":2}`:             "duplicate member",
		`{"a":{"b":1,"c":2,"b":[]}}`:     "duplicate member",
		`[{"a":1},{"a":1,"b":{},"a":2}]`: "duplicate member",
		`{"a":[{"x":1}],"a":2}`:          "duplicate member",
		`"\ud800"`:                       "half a surrogate pair",
		`{"\udc00":1}`:                   "half a surrogate pair",
		`"\ud800\ud800"`:                 "half a surrogate pair",
		`"\ud800\n"`:                     "half a surrogate pair",
		`[[[[]]]]`:                       "deeper than 3",
		`{"a":[{"b":[]}]}`:               "deeper than 3",
		strings.Repeat("[", 1<<20):       "deeper than 3",
	} {
		if err := Check([]byte(bad), 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", bad, err, want)
		}
	}
}

// encoding/json can decode all input that Check accepts, and loses no member: the result has as
// many members as the input.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":{"b":[1,"\ud83d\ude00"]}}`, `[[[]]]`, `"\u0022"`, `{"\u0061":1,"a":2}`, `1e5`} {
		f.Add(seed, byte(3))
	}
	f.Fuzz(func(t *testing.T, data string, maxDepth byte) {
		if Check([]byte(data), int(maxDepth)) != nil {
			return
		}
		var v any
		d := json.NewDecoder(strings.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q passed the check, but cannot be decoded: %v", data, err)
		}
		if got := depth(v); got > int(maxDepth) {
			t.Errorf("%q has depth %d of %d", data, got, maxDepth)
		}
		if got, want := members(v), colons(data); got != want {
			t.Errorf("%q has %d members, of which %d were read", data, want, got)
		}
	})
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

func members(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += 1 + members(e)
		}
	case []any:
		for _, e := range v {
			n += members(e)
		}
	}
	return n
}

// colons counts the colons outside of strings: one per member.
func colons(data string) int {
	n := 0
	for i, inString := 0, false; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case c == ':' && !inString:
			n++
		}
	}
	return n
}
