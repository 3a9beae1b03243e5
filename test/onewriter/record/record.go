// SPDX-License-Identifier: Apache-2.0

// Package record is the format of the writer's file: records of one disk sector, so that a record is written whole or not at all.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Size is the size of a record in bytes.
const Size = 512

// Record says who has written it, and its number, counted from 1.
type Record struct {
	Owner  string
	Number int
}

// Of returns a record.
func Of(owner string, number int) []byte {
	return fmt.Appendf(nil, "%-*s\n", Size-1, fmt.Sprintf("%s %d %d", owner, number, sum(owner, number)))
}

// sum is a checksum that two different records hardly share.
func sum(owner string, number int) int {
	s := number * 2654435761
	for _, b := range []byte(owner) {
		s = s*31 + int(b)
	}
	return s & 0xffffff
}

// Read reads all records up to the end of the file, or to a hole that a write which was cut off has left there.
func Read(r io.Reader) ([]Record, error) {
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var found []Record
	for ; len(all) >= Size; all = all[Size:] {
		line := all[:Size]
		if bytes.Count(line, []byte{0}) == Size {
			break
		}
		var got Record
		var check int
		if _, err := fmt.Sscan(string(line), &got.Owner, &got.Number, &check); err != nil || check != sum(got.Owner, got.Number) {
			return found, errors.Join(fmt.Errorf("record %d is damaged: %q", len(found)+1, bytes.TrimRight(line, " \n")), err)
		}
		found = append(found, got)
	}
	return found, nil
}
