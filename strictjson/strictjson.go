// SPDX-License-Identifier: Apache-2.0

// Package strictjson refuses JSON that two programs could understand differently. A document that
// is signed, or checked by one program and used by another, must have one meaning. Of two members
// with the same name, one decoder uses the first and another the last, which has been enough to
// forge tokens.
//
// It accepts I-JSON (RFC 7493 §2.1 to §2.3) of limited depth. Check a document before decoding it
// with encoding/json.
//
// The package imports no other package of this module.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Check returns nil if data is exactly one JSON value, in valid UTF-8, whose objects contain each
// name once, and which nests at most maxDepth objects and arrays (1 allows {} and [1], but not
// [[]]). White space around the value is allowed. The errors contain the position, in bytes from
// the start, and never quote a value.
//
// Names are compared after decoding ("a" and "\u0061" are the same) and case-sensitively: "sub" and
// "Sub" are two names. encoding/json ignores case when it matches the fields of a struct. So if
// ambiguity matters, decode into a map, or use a schema that refuses unknown names.
func Check(data []byte, maxDepth int) error {
	if !utf8.Valid(data) {
		return errors.New("the JSON is not valid UTF-8")
	}
	if err := balanced(data, maxDepth); err != nil {
		return err
	}
	if !json.Valid(data) { // this also refuses data after the first value
		return errors.New("this is not one JSON value")
	}
	if err := surrogates(data); err != nil {
		return err
	}
	return tokens(data)
}

// balanced limits the depth before a recursive decoder sees the data.
func balanced(data []byte, maxDepth int) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			if depth++; depth > maxDepth {
				return fmt.Errorf("the JSON nests deeper than %d at byte %d", maxDepth, i)
			}
		case !inString && (c == '}' || c == ']'):
			depth--
		}
	}
	return nil
}

// surrogates refuses half a UTF-16 pair: it is not a character, and decoders replace it by
// different ones. data is valid JSON, so a backslash is in a string and four digits follow its u.
func surrogates(data []byte) error {
	unit := func(i int) rune {
		if i+6 > len(data) || data[i] != '\\' || data[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if first := unit(i); utf16.IsSurrogate(first) {
			if utf16.DecodeRune(first, unit(i+6)) == utf8.RuneError {
				return fmt.Errorf("the JSON has half a surrogate pair at byte %d", i)
			}
			i += 6
		}
		i++ // the escaped character
	}
	return nil
}

// tokens walks valid JSON. It tracks the names in each open object, and refuses numbers that no float64 can hold: decoders make infinity of them, or an
// error.
func tokens(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()              // a number of any size
	var open []map[string]bool // the names so far; nil for an array
	for isName := false; ; {
		at := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("this is not one JSON value: %w", err)
		}
		if number, ok := token.(json.Number); ok {
			if _, err := number.Float64(); err != nil {
				return fmt.Errorf("the JSON has a number that is too large, after byte %d", at)
			}
		}
		switch token {
		case json.Delim('{'):
			open, isName = append(open, map[string]bool{}), true
			continue
		case json.Delim('['):
			open, isName = append(open, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if isName {
				name, _ := token.(string)
				seen := open[len(open)-1]
				if seen[name] {
					return fmt.Errorf("the JSON has a duplicate member in an object, after byte %d", at)
				}
				seen[name], isName = true, false
				continue
			}
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}
